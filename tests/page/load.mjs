// A busy fleet, in figures: node tests/page/load.mjs DEVICES SHARE SECONDS
// SHARE percent of DEVICES pull, and tell of it once a second. Fails where the page and what was sent differ, before or after
// SECONDS of that, or where a budget is missed: 5 % of a core for the page's main thread and 30 MB of its heap, 60 MB for the
// broker, and 2.5 s until every sum is right in a page that opens. Where the machine is busy that may take up to five times as
// long as a WebSocket in the same browser that takes the same messages and looks at none.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { Simulator } from './simulator.mjs';
import { Broker, Tab, VIEWER, WRITER, expected, launch, until } from './world.mjs';

const [devices, share, seconds] = process.argv.slice(2).map(Number);
const inOrder = times => times.sort((a, b) => a - b), busy = () => os.loadavg()[0].toFixed(1);

// How long a WebSocket needs for all that the broker keeps, from its beginning to the last message.
async function bare(tab) {
  const text = string => [Buffer.byteLength(string) >> 8, Buffer.byteLength(string) & 255, ...Buffer.from(string)];
  const packet = (head, ...parts) => [head, parts.flat().length, ...parts.flat()];
  const packets = [packet(0x10, text('MQTT'), [5, 0xc2, 0, 60, 0], text('bare'), text(VIEWER.user), text(VIEWER.password)),
    packet(0x82, [0, 1, 0], text('fleet/+/state'), [0], text('fleet/+/online'), [0])];
  return tab.page.evaluate((url, packets, frames) => {
    const code = `onmessage = ({ data: { url, packets, frames } }) => {
      const began = performance.now(), socket = new WebSocket(url, 'mqtt');
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => { for (const packet of packets) socket.send(new Uint8Array(packet)); };
      socket.onmessage = () => { if (!--frames) { postMessage(performance.now() - began); socket.close(); } };
    }`;
    return new Promise(done => {
      const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
      worker.onmessage = ({ data }) => { worker.terminate(); done(Math.round(data)); };
      worker.postMessage({ url, packets, frames });
    });
    // And the answers to both packets.
  }, broker.page.replace('http', 'ws'), packets, 2 * devices + 2);
}

// How long from the request for a page that is logged in until its sums are right.
async function view(tab) {
  const began = Date.now();
  await tab.page.reload({ waitUntil: 'domcontentloaded' });
  await tab.page.waitForFunction(totals => Object.entries(totals).every(([cls, n]) => !n || document.querySelector(`#totals [value=${cls}] b`)?.textContent === n.toLocaleString('en')),
    { polling: 50, timeout: 60_000 }, expected(simulator).totals);
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
  const load = busy(), views = [], floors = [];
  for (let run = 0; run < 5; run++) {
    const empty = await Tab.open(browser, broker.page);
    floors.push(await bare(empty));
    await empty.close();
    views.push(await view(tab));
  }
  const [full, floor] = [inOrder(views)[2], inOrder(floors)[2]];
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
  const MS = times => `${times.join(', ')} ms`;
  console.log(`${devices} devices, ${Math.round((simulator.sent - sent) / took)} messages a second for ${Math.round(took)} s; totals and reasons as sent, before and after
load average ${load} while pages opened, ${busy()} at the end
first full view: median ${full} ms (${MS(views)})
the same messages, unread, by a WebSocket alone: median ${floor} ms (${MS(floors)}); ratio ${(full / floor).toFixed(1)}
page: main thread ${main.toFixed(1)} % of a core, heap ${heap.toFixed(1)} MB (${(later.JSHeapUsedSize / 1e6).toFixed(1)} MB before a collection), ${later.Nodes} DOM nodes
broker: ${rss.toFixed(1)} MB resident`);
  assert.ok(full < Math.max(2500, 5 * floor), `first full view after ${full} ms, a WebSocket alone ${floor} ms`);
  assert.ok(main < 5, `main thread ${main} %`);
  assert.ok(heap < 30, `heap ${heap} MB`);
  assert.ok(rss < 60, `broker ${rss} MB`);
} finally {
  await simulator.close();
  await browser.close();
  await broker.close();
}
