// The connection to the broker, in a worker so that a busy fleet does not hold up the page. Messages are parsed, checked, and
// handed over four times a second; once a second while what the broker has kept pours in.
'use strict';
const LARGEST = 64 << 10; // bytes of a message; the agent's own are far smaller
const LONGEST = 1000; // characters of a text
const TOPICS = 8; // in one SUBSCRIBE: some brokers take no more
const SETTLED = 3000; // ms without a kept message: all have come
let client = null, root = '', changed = new Map(), live = new Map(), watched = new Set(), kept = 0, posted = 0, settling = false;

// Texts come from devices and registries: what acts on a terminal or on the order of reading is written out.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const clean = text => text.slice(0, LONGEST).replace(HOSTILE, c => `\\u{${c.codePointAt(0).toString(16)}}`);

// Only what is known, and each of its own type.
const TYPES = new Map();
const know = (type, names) => names.split(' ').forEach(name => TYPES.set(name, type));
know('string', 'id status text time since digest latest pulled checked kind details hint failing_since name image site clock');
know('number', 'current total percent rate left attempt attempts bytes seconds left_out');
know('boolean', 'lost');
function checked(from) {
  const to = {};
  for (const name in from) {
    const value = from[name];
    if (typeof value === TYPES.get(name)) to[name] = typeof value === 'string' ? clean(value) : value;
  }
  return to;
}
const list = from => (Array.isArray(from) ? from.slice(0, 256).map(checked) : []);

const decoder = new TextDecoder();
function parse(bytes) {
  try { return bytes.length <= LARGEST ? JSON.parse(decoder.decode(bytes)) : null; } catch { return null; }
}

function heard(topic, bytes, packet) {
  if (packet.retain) kept = performance.now();
  const [device, what, more] = topic.slice(root.length + 1).split('/');
  if (!device || more !== undefined || !topic.startsWith(`${root}/`)) return;
  const name = clean(device);
  // An empty message removes.
  const message = what === 'online' ? decoder.decode(bytes.subarray(0, 16)) : bytes.length ? parse(bytes) : null;
  if (what === 'progress') {
    if (message) live.set(name, { ...checked(message), layers: list(message.layers) });
    return;
  }
  if (message === null && bytes.length || typeof message !== (what === 'online' ? 'string' : 'object')) return;
  if (!changed.has(name)) changed.set(name, {});
  changed.get(name)[what] = what === 'online' ? message : message && { site: '', time: '', clock: '', left_out: 0, ...checked(message),
    images: list(message.images).filter(image => image.id), containers: list(message.containers) };
}

setInterval(() => {
  const now = performance.now(), pours = now - kept < 100;
  if (settling && now - kept > SETTLED) {
    settling = false;
    postMessage({ settled: true });
  }
  if (now - posted < (pours ? 1000 : 250) || !changed.size && !live.size) return;
  postMessage({ changed, live });
  [changed, live, posted] = [new Map(), new Map(), now];
}, 50);

function leave() {
  client?.end(true);
  client = null;
}

function connect({ brokers, version, user, password, ...settings }) {
  leave();
  root = settings.root;
  let turn = 0, host = '';
  const own = client = mqtt.connect(brokers[0], {
    protocolVersion: version, username: user, password, clientId: `page-${crypto.getRandomValues(new Uint32Array(2)).join('')}`,
    keepalive: 60, reconnectPeriod: 1500 + Math.random() * 1500, connectTimeout: 10_000, resubscribe: false,
    // One broker after the other; mqtt.js's own list of servers drops the path of an address.
    transformWsUrl: () => {
      const url = brokers[turn++ % brokers.length];
      host = new URL(url).host;
      return url;
    },
  });
  // What a client says that was left for another, or refused, is of no interest any more.
  const on = (event, act) => client.on(event, (...data) => { if (client === own) act(...data); });
  on('connect', () => {
    watched = new Set();
    settling = true;
    kept = performance.now();
    client.subscribe([`${root}/+/state`, `${root}/+/online`], { qos: 0 });
    postMessage({ link: 'up', host });
  });
  on('message', heard);
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

// Single devices are followed only where the page asks for them.
function watch(names) {
  const wanted = new Set(names.map(name => `${root}/${name}/progress`));
  const tell = (how, topics) => { for (let at = 0; at < topics.length; at += TOPICS) client[how](topics.slice(at, at + TOPICS)); };
  tell('unsubscribe', [...watched].filter(topic => !wanted.has(topic)));
  tell('subscribe', [...wanted].filter(topic => !watched.has(topic)));
  watched = wanted;
}

onmessage = ({ data }) => {
  if (data.connect) connect(data.connect);
  if (data.disconnect) leave();
  if (data.watch && client?.connected) watch(data.watch);
};
