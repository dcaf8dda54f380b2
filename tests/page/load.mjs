// A busy fleet, in figures: node tests/page/load.mjs DEVICES SHARE SECONDS
// SHARE percent of DEVICES pull, and tell of it once a second. Fails where the page and what was sent differ, before or after
// SECONDS of that, or where a budget is missed: 5 % of a core for the page's main thread and 30 MB of its heap, 60 MB for the
// broker, and 2.5 s until every sum is right in a page that opens. Where the machine is busy that may take up to ten times as
// long as mqtt.js alone, in node, needs for the same messages by the same WebSocket.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { Simulator } from './simulator.mjs';
import { Broker, Tab, VIEWER, WRITER, expected, launch, until } from './world.mjs';

const mqtt = createRequire(new URL('../../deploy/fleet/package.json', import.meta.url))('mqtt');
const [devices, share, seconds] = process.argv.slice(2).map(Number);
// How long mqtt.js alone needs for all that the broker keeps, by the WebSocket.
async function alone() {
  const began = Date.now(), client = mqtt.connect(broker.page.replace('http', 'ws'), { username: VIEWER.user, password: VIEWER.password, protocolVersion: 5, reconnectPeriod: 0 });
  client.once('connect', () => client.subscribe(['fleet/+/state', 'fleet/+/online']));
  await new Promise((done, failed) => {
    let heard = 0;
    client.on('message', () => { if (++heard === 2 * devices) done(); }).once('error', failed);
  });
  await client.endAsync(true);
  return Date.now() - began;
}

const broker = await Broker.start(), browser = await launch(), simulator = new Simulator({ url: broker.url, ...WRITER });
try {
  await simulator.connected();
  await simulator.populate(devices, share);
  const tab = await Tab.open(browser, broker.page);
  const agrees = async when => until(`${when}, totals and reasons are what was sent`, async () => {
    const is = { totals: await tab.totals(), kinds: await tab.kinds() }, should = expected(simulator);
    try { assert.deepEqual(is, should); return true; } catch { return { is, should }; }
  }, 60_000);
  await tab.login();
  await tab.live(devices);
  const bare = [await alone(), await alone(), await alone()].sort((a, b) => a - b)[1];
  const began = Date.now();
  await tab.page.reload({ waitUntil: 'domcontentloaded' });
  await tab.page.waitForFunction(totals => Object.entries(totals).every(([cls, n]) => !n || document.querySelector(`#totals [value=${cls}] b`)?.textContent === n.toLocaleString('en')),
    { polling: 50, timeout: 60_000 }, expected(simulator).totals);
  const full = Date.now() - began;
  await agrees('before');
  const cdp = await tab.page.createCDPSession();
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metrics = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
  const before = await metrics(), sent = simulator.sent, start = Date.now();
  await simulator.run(seconds);
  const took = (Date.now() - start) / 1000, later = await metrics();
  await agrees('after');
  assert.deepEqual([tab.errors, await tab.page.evaluate(() => window.violations)], [[], []]);
  await tab.picture(`load-${devices}`);
  await cdp.send('HeapProfiler.collectGarbage');
  const heap = (await metrics()).JSHeapUsedSize / 1e6, rss = Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${broker.process.pid}/status`, 'utf8'))[1]) * 1.024 / 1000;
  const main = 100 * (later.TaskDuration - before.TaskDuration) / took;
  console.log(JSON.stringify({ devices, messages_per_second: Math.round((simulator.sent - sent) / took), seconds: Math.round(took), first_full_view_ms: full, mqtt_alone_ms: bare,
    main_thread_percent: +main.toFixed(1), heap_mb: +heap.toFixed(1), heap_before_collection_mb: +(later.JSHeapUsedSize / 1e6).toFixed(1), dom_nodes: later.Nodes, broker_rss_mb: +rss.toFixed(1) }));
  assert.ok(full < Math.max(2500, 10 * bare), `first full view after ${full} ms, mqtt.js alone ${bare} ms`);
  assert.ok(main < 5, `main thread ${main} %`);
  assert.ok(heap < 30, `heap ${heap} MB`);
  assert.ok(rss < 60, `broker ${rss} MB`);
} finally {
  await simulator.close();
  await browser.close();
  await broker.close();
}
