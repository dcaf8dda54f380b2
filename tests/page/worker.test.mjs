// What the page's worker reads of a WebSocket itself, and what it leaves to mqtt.js: its own file, without a browser.
import assert from 'node:assert/strict';
import { webcrypto as crypto } from 'node:crypto'; // no global in Node 18, Debian 12's
import fs from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';

const code = fs.readFileSync(new URL('../../deploy/fleet/page/worker.js', import.meta.url), 'utf8');
const field = text => { const bytes = Buffer.from(text); return [bytes.length >> 8, bytes.length & 255, ...bytes]; };
const packet = (head, body) => {
  const length = [];
  let rest = body.length;
  do { length.push(rest % 128 | (rest > 127 ? 128 : 0)); rest >>= 7; } while (rest);
  return [head, ...length, ...body];
};
const message = (topic, payload, { version = 5, head = 0x31, properties = [] } = {}) =>
  packet(head, [...field(topic), ...(version === 5 ? [properties.length, ...properties] : []), ...Buffer.from(payload)]);
const SUBACK = packet(0x90, [0, 1, 0, 0]), PINGRESP = [0xd0, 0];

// A worker that is connected: give() takes a frame and says whether it was kept from mqtt.js, told() what the page is told.
function worker(version = 5) {
  const posted = [];
  let tick, frame, settings;
  class WebSocket {
    addEventListener(name, listener) { assert.equal(name, 'message'); frame = listener; }
  }
  const requests = [], client = { connected: true, on() {}, end() {}, ...Object.fromEntries(['subscribe', 'unsubscribe'].map(method => [method, topics => requests.push([method, topics])])) };
  const scope = vm.createContext({ WebSocket, TextDecoder, Uint8Array, URL, crypto, performance: { now: () => 1e6 }, setInterval: act => { tick = act; },
    postMessage: data => posted.push(data), mqtt: { connect: (_, options) => { settings = options; return client; } } });
  vm.runInContext(code, scope);
  vm.runInContext('onmessage', scope)({ data: { connect: { brokers: ['ws://127.0.0.1/'], root: 'fleet', version } } });
  settings.createWebsocket('ws://127.0.0.1/', ['mqtt']);
  return {
    give(bytes) {
      let isKept = false;
      frame({ data: Uint8Array.from(bytes).buffer, stopImmediatePropagation: () => { isKept = true; } });
      return isKept;
    },
    watch(names) { vm.runInContext('onmessage', scope)({ data: { watch: names } }); return JSON.parse(JSON.stringify(requests.splice(0))); },
    told() { tick(); return JSON.parse(JSON.stringify(posted.splice(0).flatMap(({ changed }) => [...changed]))); },
  };
}

for (const version of [4, 5]) {
  test(`MQTT ${version}: frames of whole messages are read at once, several in one too`, () => {
    const one = worker(version);
    assert.equal(one.give(message('fleet/pi-1/online', 'online', { version })), true);
    const long = JSON.stringify({ v: 1, site: 'Köln', images: [{ id: 'a:1', details: 'x'.repeat(300) }] });
    assert.equal(one.give([...message('fleet/pi-2/state', long, { version }), ...message('fleet/Gerät/online', 'offline', { version })]), true);
    const told = new Map(one.told());
    assert.deepEqual([...told.keys()], ['pi-1', 'pi-2', 'Gerät']);
    assert.equal(told.get('pi-1').online, 'online');
    assert.equal(told.get('pi-2').state.site, 'Köln');
    assert.equal(told.get('pi-2').state.images[0].details.length, 300);
    assert.equal(told.get('Gerät').online, 'offline');
  });
}

test('properties of a message are passed over', () => {
  const one = worker();
  // Message expiry, and a user property.
  assert.equal(one.give(message('fleet/pi-1/online', 'online', { properties: [2, 0, 0, 0, 9, 38, ...field('key'), ...field('value')] })), true);
  assert.deepEqual(one.told(), [['pi-1', { online: 'online' }]]);
});

test('what is no message is left to mqtt.js, and messages after it are read all the same', () => {
  const one = worker();
  assert.equal(one.give(SUBACK), false);
  assert.equal(one.give(PINGRESP), false);
  assert.equal(one.give(message('fleet/pi-1/online', 'online')), true);
});

const whole = message('fleet/pi-1/online', 'online');
for (const [what, first] of [
  ['a part of a message', whole.slice(0, 9)], ['the first byte of one', whole.slice(0, 1)], ['one and a part of the next', [...whole, ...whole.slice(0, 5)]],
  ['a message beside something else', [...SUBACK, ...whole]], ['something else behind a message', [...whole, ...PINGRESP]],
  ['QoS 1', packet(0x33, [...field('fleet/pi-1/online'), 0, 7, 0, ...Buffer.from('online')])],
]) {
  test(`${what}: mqtt.js has the frame and all that follow, so that none overtakes another`, () => {
    const one = worker();
    assert.equal(one.give(message('fleet/pi-0/online', 'online')), true);
    assert.equal(one.give(first), false);
    assert.equal(one.give(message('fleet/pi-2/online', 'online')), false);
    assert.deepEqual(one.told(), [['pi-0', { online: 'online' }]]);
  });
}

test('what is watched: eight topics at most in a request, and only what changes', () => {
  const one = worker(), names = Array.from({ length: 45 }, (_, at) => `pi-${at}`), topics = names.map(name => `fleet/${name}/progress`);
  const first = one.watch(names);
  assert.deepEqual(first.map(([method, topics]) => [method, topics.length]), [8, 8, 8, 8, 8, 5].map(n => ['subscribe', n]));
  assert.deepEqual(first.flatMap(([, topics]) => topics), topics);
  assert.deepEqual(one.watch([...names.slice(2), 'new']), [['unsubscribe', topics.slice(0, 2)], ['subscribe', ['fleet/new/progress']]]);
  assert.deepEqual(one.watch([...names.slice(2), 'new']), []);
});
