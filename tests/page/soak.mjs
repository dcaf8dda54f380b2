// The page of a fleet that stays open, for tests/proofs/soak-fleet.py: soak.mjs ADDRESS USER PASSWORD
// First writes the browser's pid; then answers each line of input by one line of JSON: `look` by the link's state, the number of
// devices and the heap in bytes after a collection; `all` by what the page knows of each device, its class, and the cells of its row.
import { createInterface } from 'node:readline';
import { launch, Tab } from './world.mjs';

const [address, user, password] = process.argv.slice(2);
// mosquitto itself serves the page, without the nginx that other browsers need for it. So high that no row is left out: as many
// are made as fit.
const browser = await launch('--disable-http2'), tab = await Tab.open(browser, address, { width: 1440, height: 12_000 });
const say = what => console.log(JSON.stringify(what));
say({ pid: browser.process().pid });
const cdp = await tab.page.createCDPSession();
await cdp.send('Performance.enable');
await tab.login({ user, password });

async function look() {
  await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics'), of = name => metrics.find(metric => metric.name === name).value;
  return { link: await tab.text('#link'), devices: await tab.page.evaluate('fleet.devices.size'), heap: of('JSHeapUsedSize'), nodes: of('Nodes') };
}

async function all() {
  await tab.page.evaluate('draw()');
  const devices = await tab.page.evaluate(() => {
    return Object.fromEntries([...fleet.devices].map(([name, { online, images, cls }]) => [name, { online, images, cls }]));
  });
  return { devices, rows: await tab.rows(), violations: await tab.page.evaluate('window.violations') };
}

try {
  for await (const line of createInterface({ input: process.stdin })) say(await { look, all }[line]());
} finally {
  await browser.close();
}
