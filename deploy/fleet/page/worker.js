// The connection to the broker, in a worker so that a busy fleet does not hold up the page. Messages are parsed, checked, and
// handed over four times a second; less often while what the broker has kept pours in, as each time costs a drawing.
'use strict';
const LARGEST = 64 << 10; // bytes of a message; the agent's own are far smaller
const LONGEST = 1000; // characters of a text
const TOPICS = 8; // in one SUBSCRIBE: some brokers take no more
const SETTLED = 3000; // ms without a kept message: all have come
let client = null, version = 5, root = '', changed = new Map(), live = new Map(), watched = new Set(), kept = 0, posted = 0, settling = false;

// Texts come from devices and registries: what acts on a terminal or on the order of reading is written out.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const clean = text => text.slice(0, LONGEST).replace(HOSTILE, c => `\\u{${c.codePointAt(0).toString(16)}}`);

// Only what is known, and each of its own type.
const TYPES = new Map(Object.entries({
  string: 'id status text time since digest latest pulled checked kind details hint failing_since name image site clock',
  number: 'current total percent rate left attempt attempts bytes seconds left_out',
  boolean: 'lost',
}).flatMap(([type, names]) => names.split(' ').map(name => [name, type])));
function checked(from) {
  const to = {};
  for (const name in from) {
    const value = from[name];
    // None is below zero; JSON has no infinity, but 1e999.
    if (typeof value !== TYPES.get(name) || value < 0 || value === Infinity) continue;
    to[name] = typeof value === 'string' ? clean(value) : value;
  }
  return to;
}
const list = from => (Array.isArray(from) ? from.slice(0, 256).map(checked) : []);
// Each once: a device has one vote for what an image should be.
const known = (from, by) => [...new Map(list(from).filter(one => one[by]).map(one => [one[by], one])).values()];

const decoder = new TextDecoder();
function parse(bytes) {
  try { return bytes.length <= LARGEST ? JSON.parse(decoder.decode(bytes)) : null; } catch { return null; }
}

function onMessage(topic, bytes, { retain }) {
  if (retain) kept = performance.now();
  const [device, what, more] = topic.slice(root.length + 1).split('/'), name = clean(device);
  if (!device || more !== undefined || !topic.startsWith(`${root}/`)) return;
  const change = part => changed.set(name, { ...changed.get(name), ...part });
  if (what === 'online') return change({ online: decoder.decode(bytes.subarray(0, 16)) });
  // An empty message removes the device.
  if (what === 'state' && !bytes.length) return change({ state: null });
  const message = parse(bytes);
  if (message === null || typeof message !== 'object') return;
  if (what === 'progress') live.set(name, { ...checked(message), layers: list(message.layers) });
  else change({ state: { site: '', time: '', clock: '', left_out: 0, ...checked(message), images: known(message.images, 'id'), containers: known(message.containers, 'name') } });
}

// The messages of a frame that consists of whole messages of QoS 0; an empty list if it is one other packet; otherwise null.
function read(bytes) {
  const messages = [];
  let at = 0;
  const number = () => {
    let value = 0, shift = 0, byte;
    do { value |= ((byte = bytes[at++]) & 127) << shift; shift += 7; } while (byte > 127);
    return value;
  };
  while (at < bytes.length) {
    const head = bytes[at++], end = number() + at, isMessage = head >> 4 === 3;
    if (end > bytes.length || isMessage && head & 6) return null;
    if (!isMessage) return messages.length || end < bytes.length ? null : [];
    const topic = bytes.subarray(at + 2, at += 2 + (bytes[at] << 8 | bytes[at + 1]));
    if (version === 5) at = number() + at; // past the properties
    messages.push([decoder.decode(topic), bytes.subarray(at, end), { retain: head & 1 }]);
    at = end;
  }
  return messages;
}

// mqtt.js takes more time for a message than everything else here together, and a broker sends 20,000 messages to a page that opens.
// So simple frames are read here. Once mqtt.js has to read one, it reads all later ones of that connection, to keep their order.
function open(url, protocols) {
  const socket = new WebSocket(url, protocols);
  let isOurs = true;
  // It is added, and so called, before mqtt.js's own listener.
  socket.addEventListener('message', event => {
    const messages = isOurs && read(new Uint8Array(event.data));
    isOurs = Boolean(messages);
    if (!messages?.length) return;
    event.stopImmediatePropagation();
    for (const message of messages) onMessage(...message);
  });
  return socket;
}

setInterval(() => {
  const now = performance.now(), settled = settling && now - kept > SETTLED;
  if (!settled && (now - posted < (now - kept < 100 ? 1500 : 250) || !changed.size && !live.size)) return;
  postMessage({ changed, live, settling, settled });
  [changed, live, posted, settling] = [new Map(), new Map(), now, settling && !settled];
}, 50);

function leave() {
  client?.end(true);
  client = null;
}

function connect({ brokers, user, password, ...settings }) {
  leave();
  ({ root, version } = settings);
  let turn = 0, host = '';
  const own = client = mqtt.connect(brokers[0], {
    protocolVersion: version, username: user, password, clientId: `page-${crypto.getRandomValues(new Uint32Array(2)).join('')}`,
    keepalive: 60, reconnectPeriod: 1500 + Math.random() * 1500, connectTimeout: 10_000, resubscribe: false, createWebsocket: open,
    // One broker after the other; mqtt.js's own list of servers drops the path of an address.
    transformWsUrl: () => {
      const url = brokers[turn++ % brokers.length];
      host = new URL(url).host;
      return url;
    },
  });
  // Events of an earlier client, or of one that was refused, are ignored.
  const on = (event, act) => client.on(event, (...data) => { if (client === own) act(...data); });
  on('connect', () => {
    watched = new Set();
    settling = true;
    kept = posted = performance.now();
    client.subscribe([`${root}/+/state`, `${root}/+/online`], { qos: 0 });
    postMessage({ link: 'up', host });
  });
  on('message', onMessage);
  on('error', ({ code }) => {
    const isRefused = [4, 5, 134, 135].includes(code);
    if (isRefused) leave();
    postMessage({ link: isRefused ? 'refused' : 'down' });
  });
  on('close', () => {
    settling = false;
    postMessage({ link: 'down' });
  });
}

// The progress of a single device is subscribed to only while the page shows the device.
function watch(names) {
  const wanted = new Set(names.map(name => `${root}/${name}/progress`));
  const request = (method, topics) => { for (let at = 0; at < topics.length; at += TOPICS) client[method](topics.slice(at, at + TOPICS)); };
  request('unsubscribe', [...watched].filter(topic => !wanted.has(topic)));
  request('subscribe', [...wanted].filter(topic => !watched.has(topic)));
  watched = wanted;
}

onmessage = ({ data }) => {
  if (data.connect) connect(data.connect);
  if (data.watch && client?.connected) watch(data.watch);
};
