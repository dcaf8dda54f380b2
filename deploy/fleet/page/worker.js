// The broker's messages, in a worker so that a busy fleet does not hold up the page: parsed, checked, and handed over four times a
// second. Follows the messages of single devices only where the page asks for them.
'use strict';
const LIMIT = 64 << 10; // bytes of a message; the agent's own are far smaller
const LONGEST = 1000; // characters of a text
const TOPICS = 8; // in one SUBSCRIBE: some brokers take no more
let client = null, root, changed = new Map(), live = new Map(), messages = 0, watched = new Set();

// Texts come from devices and registries: what acts on a terminal or on the order of reading is written out.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const clean = text => text.slice(0, LONGEST).replace(HOSTILE, c => `\\u{${c.codePointAt(0).toString(16)}}`);

const TEXTS = ['id', 'status', 'text', 'time', 'since', 'digest', 'latest', 'pulled', 'checked', 'kind', 'details', 'hint', 'failing_since', 'name', 'image'];
const NUMBERS = ['current', 'total', 'percent', 'rate', 'left', 'attempt', 'attempts', 'bytes', 'seconds', 'exit'];

// Only what is known, and each of its own type.
function checked(from, most = 0) {
  if (typeof from !== 'object' || from === null || Array.isArray(from)) return null;
  const to = {};
  for (const name of TEXTS) if (Object.hasOwn(from, name) && typeof from[name] === 'string') to[name] = clean(from[name]);
  for (const name of NUMBERS) if (Object.hasOwn(from, name) && Number.isFinite(from[name])) to[name] = from[name];
  if (most) to.layers = list(from.layers, most, 0);
  return to;
}
const list = (from, most) => (Array.isArray(from) ? from.slice(0, most).map(one => checked(one)).filter(one => one) : []);

function parse(bytes) {
  if (bytes.length > LIMIT) return null;
  try { return JSON.parse(new TextDecoder().decode(bytes)); } catch { return null; }
}

function heard(topic, bytes) {
  messages++;
  if (!topic.startsWith(root + '/')) return;
  const parts = topic.slice(root.length + 1).split('/');
  if (parts.length !== 2) return;
  const name = clean(parts[0]), what = parts[1];
  if (what === 'online') {
    entry(name).online = bytes.length ? new TextDecoder().decode(bytes.slice(0, 16)) : null;
  } else if (what === 'state') {
    if (!bytes.length) { changed.set(name, { state: null }); live.delete(name); return; } // removed by an operator
    const state = parse(bytes);
    if (!state || typeof state !== 'object') return;
    entry(name).state = { site: typeof state.site === 'string' ? clean(state.site) : '', time: typeof state.time === 'string' ? clean(state.time) : '',
      clock: state.clock === 'wrong', images: list(state.images, 64).filter(image => image.id), containers: list(state.containers, 64) };
  } else if (what === 'progress') {
    const progress = checked(parse(bytes), 256);
    if (progress) live.set(name, progress);
  }
}
function entry(name) {
  let one = changed.get(name);
  if (!one || one.state === null) changed.set(name, one = {});
  return one;
}

setInterval(() => {
  if (!changed.size && !live.size) return;
  postMessage({ changed: [...changed], live: [...live], messages });
  changed = new Map();
  live = new Map();
}, 250);

function leave() {
  const old = client;
  client = null;
  old?.end(true);
}

function subscribe(topics, how) {
  for (let at = 0; at < topics.length; at += TOPICS) client[how](topics.slice(at, at + TOPICS), how === 'subscribe' ? { qos: 0 } : {});
}

onmessage = ({ data }) => {
  if (data.connect) {
    leave();
    root = data.connect.root;
    let turn = 0, host = '';
    const { brokers, version, user, password } = data.connect;
    const own = client = mqtt.connect(brokers[0], {
      protocolVersion: version, username: user, password, clientId: `page-${crypto.getRandomValues(new Uint32Array(2)).join('')}`, clean: true,
      keepalive: 60, reconnectPeriod: 1500 + Math.random() * 1500, connectTimeout: 10_000, resubscribe: false,
      // One broker after the other; mqtt.js's own list of servers drops the path of an address.
      transformWsUrl: () => { const url = brokers[turn++ % brokers.length]; host = new URL(url).host; return url; },
    });
    client.on('connect', () => {
      watched = new Set();
      client.subscribe([`${root}/+/online`, `${root}/+/state`], { qos: 0 });
      postMessage({ link: 'up', host });
    });
    client.on('message', heard);
    // What a client says that was left for another, or refused, is of no interest any more.
    client.on('error', error => {
      if (client !== own) return;
      const refused = [4, 5, 134, 135].includes(error.code);
      if (refused) leave();
      postMessage({ link: refused ? 'refused' : 'down' });
    });
    client.on('close', () => { if (client === own) postMessage({ link: 'down' }); });
  }
  if (data.disconnect) leave();
  if (data.watch && client?.connected) {
    const wanted = new Set(data.watch), topic = name => `${root}/${name}/progress`;
    subscribe([...watched].filter(name => !wanted.has(name)).map(topic), 'unsubscribe');
    subscribe([...wanted].filter(name => !watched.has(name)).map(topic), 'subscribe');
    watched = wanted;
  }
};
