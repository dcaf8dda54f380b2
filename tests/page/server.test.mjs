// The package alm-fleet, and the page from it as it is meant to be served: over TLS, by mosquitto alone and behind nginx.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import { Simulator } from './simulator.mjs';
import { Broker, Tab, WRITER, freePort, launch, until } from './world.mjs';

const fleet = new URL('../../deploy/fleet/', import.meta.url).pathname;
let broker, browser, simulator, nginx, secure, port, site;
before(async () => {
  broker = await Broker.start();
  [secure, port] = [await freePort(), await freePort()];
  const { dir } = broker, file = name => path.join(dir, name);
  execFileSync(path.join(fleet, 'package.sh'), [dir]);
  const [deb] = fs.readdirSync(dir).filter(name => /^alm-fleet_.*_all\.deb$/.test(name));
  execFileSync('dpkg-deb', ['-x', file(deb), file('package')]);
  site = file('package/usr/share/alm-fleet/page');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-keyout', file('key'), '-out', file('pem')], { stdio: 'ignore' });
  await broker.end();
  fs.appendFileSync(file('conf'), `listener ${secure}\nprotocol websockets\nhttp_dir ${site}\ncertfile ${file('pem')}\nkeyfile ${file('key')}\n`);
  await broker.run();
  // The configuration that is shipped, with nothing changed but places and ports.
  let conf = fs.readFileSync(file('package/usr/share/doc/alm-fleet/examples/nginx.conf'), 'utf8');
  for (const [from, to] of [['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`], ['    listen [::]:443 ssl;\n', ''], ['/etc/ssl/certs/alm-fleet.pem', file('pem')],
    ['/etc/ssl/private/alm-fleet.key', file('key')], ['/usr/share/alm-fleet/page', site], ['127.0.0.1:8443', `127.0.0.1:${secure}`]]) {
    assert.ok(conf.includes(from), from);
    conf = conf.replace(from, to);
  }
  // The same below a path, as beside other sites on one server.
  const below = conf.match(/ {4}location = [^]*?\n {4}\}\n/g).map(block => block.replace('location = /', 'location = /pis/')).join('');
  assert.equal(below.match(/location = \/pis\//g).length, 2);
  conf = conf.replace('    gzip on;', `    location /pis/ { alias ${site}/; }\n${below}    gzip on;`);
  fs.writeFileSync(file('nginx.conf'), `daemon off;\nuser root;\npid ${file('nginx.pid')};\nerror_log ${file('nginx.log')};\nevents {}\nhttp {\ninclude /etc/nginx/mime.types;\naccess_log off;\n${conf}\n}\n`);
  nginx = spawn('nginx', ['-p', dir, '-c', file('nginx.conf')], { stdio: 'inherit' });
  browser = await launch();
  simulator = new Simulator({ url: broker.url, ...WRITER });
  await simulator.connected();
  await simulator.populate(50);
}, { timeout: 60_000 });
after(async () => {
  await simulator?.close();
  await browser?.close();
  if (nginx) { nginx.kill(); await once(nginx, 'exit'); }
  await broker?.close();
});

const ask = (file, headers = {}) => new Promise((done, failed) => https.get({ host: '127.0.0.1', port, path: `/${file}`, rejectUnauthorized: false, headers }, async answer => {
  const parts = [];
  for await (const part of answer) parts.push(part);
  done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) });
}).on('error', failed));

test('the package has the page, the broker’s configuration, what it is made of as npm has it, and the licences', () => {
  const same = (ours, theirs) => assert.deepEqual(fs.readFileSync(path.join(site, ours)), fs.readFileSync(path.join(fleet, theirs)), ours);
  for (const name of ['index.html', 'page.css', 'page.js', 'fleet.js', 'worker.js', 'settings.json']) same(name, `page/${name}`);
  same('mqtt.min.js', 'node_modules/mqtt/dist/mqtt.min.js');
  same('mqtt.LICENSE.md', 'node_modules/mqtt/LICENSE.md');
  same('uPlot.iife.min.js', 'node_modules/uplot/dist/uPlot.iife.min.js');
  same('uPlot.LICENSE', 'node_modules/uplot/LICENSE');
  const inside = name => fs.statSync(path.join(broker.dir, 'package', name));
  assert.equal(inside('usr/sbin/alm-fleet-configure').mode & 0o111, 0o111);
  for (const name of ['etc/default/alm-fleet', 'lib/systemd/system/mosquitto.service.d/alm-fleet.conf', 'usr/share/alm-fleet/mosquitto/alm-fleet.conf', 'usr/share/doc/alm-fleet/copyright']) assert.ok(inside(name).size > 0, name);
  const lock = JSON.parse(fs.readFileSync(path.join(fleet, 'package-lock.json'))).packages;
  for (const name of ['mqtt', 'uplot', 'puppeteer-core']) assert.match(lock[`node_modules/${name}`].integrity, /^sha512-/);
});

test('the page’s own code stays small: without comments and indentation, and as nginx sends it', () => {
  const own = ['page.js', 'fleet.js', 'worker.js', 'index.html', 'page.css'].map(name => fs.readFileSync(path.join(fleet, 'page', name), 'utf8'));
  const comments = [/^\/\* .*\n/gm, /^ *\/\/ .*\n/gm, / \/\/ [^'`]*$/gm, /<!-- [^]*? -->\n/g, /^ +/gm];
  const code = texts => comments.reduce((text, comment) => text.replace(comment, ''), texts.join('')).length, [scripts, all] = [code(own.slice(0, 3)), code(own)];
  const sent = own.reduce((sum, text) => sum + zlib.gzipSync(text, { level: 6 }).length, 0);
  assert.ok(scripts <= 24_700 && all <= 31_800, `${scripts} bytes of scripts, ${all} of all`);
  assert.ok(sent <= 15_700, `${sent} bytes compressed`);
});

// Debian 12's mosquitto offers HTTP/2 there, and cannot speak it: README says so.
test('mosquitto alone serves it over TLS, to a browser without HTTP/2', async () => {
  const older = await launch('--disable-http2'), tab = await Tab.open(older, `https://127.0.0.1:${secure}/index.html`);
  await tab.login();
  await tab.live(50);
  assert.equal(await tab.text('#link'), `live · 127.0.0.1:${secure}`);
  assert.deepEqual([tab.errors, await tab.page.evaluate(() => window.violations)], [[], []]);
  await older.close();
  // With HTTP/2 it is the page alone that does not come: the WebSocket is asked for by HTTP/1.1, so another server can have the page.
  const elsewhere = await Tab.open(browser, `https://127.0.0.1:${port}/`);
  const opens = await elsewhere.page.evaluate(url => new Promise(done => Object.assign(new WebSocket(url, 'mqtt'), { onopen: () => done(true), onerror: () => done(false) })), `wss://127.0.0.1:${secure}/mqtt`);
  assert.deepEqual([opens, await elsewhere.page.evaluate(() => window.violations)], [true, []]);
  await elsewhere.close();
});

test('behind nginx: types, compression, caching and headers', async () => {
  const types = { '': 'text/html', 'page.css': 'text/css', 'page.js': 'application/javascript', 'mqtt.min.js': 'application/javascript', 'settings.json': 'application/json' };
  for (const [name, type] of Object.entries(types)) {
    const { status, headers } = await ask(name);
    assert.equal(status, 200, name);
    assert.equal(headers['content-type'].split(';')[0], type, name);
    assert.equal(headers['content-security-policy'], "frame-ancestors 'none'", name);
    assert.equal(headers['x-content-type-options'], 'nosniff', name);
    assert.equal(headers['cache-control'], 'no-cache', name);
  }
  const plain = await ask('mqtt.min.js'), small = await ask('mqtt.min.js', { 'accept-encoding': 'gzip' });
  assert.equal(small.headers['content-encoding'], 'gzip');
  assert.deepEqual(zlib.gunzipSync(small.body), plain.body);
  assert.ok(small.body.length < plain.body.length / 2, `${small.body.length} of ${plain.body.length}`);
  assert.equal((await ask('page.js', { 'if-none-match': (await ask('page.js')).headers.etag })).status, 304);
});

test('behind nginx, below a path', async () => {
  const tab = await Tab.open(browser, `https://127.0.0.1:${port}/pis/`);
  await tab.login();
  await tab.live(50);
  assert.deepEqual([tab.errors, await tab.page.evaluate(() => window.violations)], [[], []]);
  await tab.close();
});

test('behind nginx: live, and live again after a restart of the broker', async () => {
  const tab = await Tab.open(browser, `https://127.0.0.1:${port}/`);
  await tab.login({ user: 'page', password: 'wrong' });
  await until('refused', async () => (await tab.text('#refused')).includes('refused'));
  await tab.login();
  await tab.live(50);
  await broker.end();
  await until('lost', async () => (await tab.text('#link')).startsWith('connection lost'));
  await broker.run();
  await tab.live(50);
  assert.deepEqual(await tab.page.evaluate(() => window.violations), []);
  await tab.close();
  // The page of another site cannot have it in a frame.
  const other = await Tab.open(browser, broker.page);
  await other.page.evaluate(port => { const frame = document.createElement('iframe'); frame.src = `https://127.0.0.1:${port}/`; document.body.append(frame); }, port);
  await until('its frame is refused', async () => other.page.frames().every(frame => !frame.url().startsWith(`https://127.0.0.1:${port}`)) && other.errors.length > 0 || other.errors);
  await other.close();
});
