// The page and 200 devices on a cluster of three; tests/proofs/cluster.py starts it, and kills a node when this asks for it.
// node tests/page/cluster.mjs MQTT,MQTT,MQTT WS,WS,WS: prints the line "kill", waits for a line on standard input, and then prints the results.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import http from 'node:http';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Simulator } from './simulator.mjs';
import { Tab, expected, launch, sleep, until } from './world.mjs';

const [mqtt, ws] = process.argv.slice(2).map(list => list.split(','));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'alm-cluster-'));
execFileSync(new URL('../../deploy/fleet/site.sh', import.meta.url).pathname, [dir]);
fs.writeFileSync(path.join(dir, 'settings.json'), JSON.stringify({ brokers: ws.map(port => `ws://127.0.0.1:${port}/mqtt`), version: 4 }));
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.json': 'application/json' };
const server = http.createServer((request, answer) => {
  const file = path.join(dir, path.basename(request.url));
  answer.writeHead(fs.existsSync(file) ? 200 : 404, { 'content-type': types[path.extname(file)] ?? 'text/plain' });
  // The page's own rule is wss: to other hosts; on loopback there is no certificate.
  answer.end(fs.existsSync(file) ? fs.readFileSync(file, file.endsWith('.html') ? 'utf8' : undefined).toString().replace("'self' wss:", "'self' ws: wss:") : '');
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const say = (what, how) => console.log(`${what}: ${how}`);
const browser = await launch(), simulator = new Simulator({ url: `mqtt://127.0.0.1:${mqtt[1]}`, user: 'sim', password: 'sim', version: 4 });
try {
  await simulator.connected();
  await simulator.populate(200);
  const tab = await Tab.open(browser, `http://127.0.0.1:${server.address().port}/index.html`);
  await tab.login({ user: 'page', password: 'page' });
  await tab.live(200);
  const link = await tab.text('#link');
  const agrees = async () => JSON.stringify(await tab.totals()) === JSON.stringify(expected(simulator).totals) || [await tab.totals(), expected(simulator).totals];
  await until('counts', agrees);
  say('before: a page that connects later gets', '200 of 200 retained states, counts equal');
  console.log('kill');
  await once(process.stdin, 'data');
  const killed = Date.now();
  await until('the page has another node', async () => { const now = await tab.text('#link'); return now.startsWith('live') && now !== link || now; }, 120_000);
  say('after kill -9 of the page\'s node, the page is live on the next node after', `${((Date.now() - killed) / 1000).toFixed(1)} s`);
  const device = [...simulator.devices.values()].find(one => one.online === 'online' && !one.pull && one.state.images[0].status === 'Done'), begun = Date.now();
  device.online = 'offline';
  await Promise.race([simulator.publish(`${device.name}/online`, 'offline'), sleep(120_000).then(() => { throw new Error('no PUBACK within 120 s'); })]);
  say('a device on another node gets its PUBACK after', `${((Date.now() - begun) / 1000).toFixed(1)} s`);
  await until('counts', agrees, 60_000);
  say('the page shows a change made after that', 'yes, counts equal');
  const late = await Tab.open(browser, tab.page.url());
  await late.login({ user: 'page', password: 'page' });
  const opened = Date.now();
  try { await late.live(200, 90_000); say('a page that connects later gets', `200 of 200 after ${((Date.now() - opened) / 1000).toFixed(1)} s`); }
  catch (error) { say('a page that connects later does NOT get all', error.message); }
} finally {
  await simulator.close();
  await browser.close();
  server.close();
  fs.rmSync(dir, { recursive: true });
}
process.exit(0);
