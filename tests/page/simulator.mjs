// A fleet that is not there: devices that connect nowhere, told to a broker by one connection, as their agents would tell them.
//
// node tests/page/simulator.mjs BROKER DEVICES [--seconds N] [--share PERCENT] [--user NAME --password WORD]
//
// What was sent last of each device is kept in `devices`, so that a test can compare it with what the page shows.
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';

const mqtt = createRequire(new URL('../../deploy/fleet/package.json', import.meta.url))('mqtt');
const APP = 'europe-west1-docker.pkg.dev/alm/apps/player:stable', WEB = 'europe-west1-docker.pkg.dev/alm/apps/agent:2';
const NEW = `sha256:${'9760a03b'.repeat(8)}`, OLD = `sha256:${'41f0c0aa'.repeat(8)}`, AGENT = `sha256:${'7c0ffee1'.repeat(8)}`;
const SITES = ['Berlin', 'Hamburg', 'Köln', 'Leipzig', 'München', 'Stuttgart', 'Wien', 'Zürich'];
const REASONS = [
  ['disk-full', 'no space left on device', 'make room where Docker keeps its images (docker image prune), then pull again', 37],
  ['unreachable', 'dial tcp: lookup europe-west1-docker.pkg.dev: no such host', 'check that this device reaches the registry: network, DNS, firewall', 21],
  ['login', 'unauthorized: authentication failed', 'log in to the registry as the user that runs this (docker login)', 8],
  ['certificate', 'x509: certificate has expired or is not yet valid', 'check the clock of this device (date) first', 6],
  ['stalled', 'nothing moved for 600 s', 'look at the network and at the registry, then pull again', 3],
];
const LAYERS = [['b9bf3f3b8299', .05], ['12414bf0d23c', .1], ['b5a0d1a0b112', .45], ['3c9fd1a5a1e0', .3], ['77ae0c11d9aa', .1]];
const TOTAL = 214_000_000, DAY = 86400e3;
const iso = at => new Date(at).toISOString().replace(/\.\d+/, '');

// Random, and the same in every run.
const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

export class Simulator {
  devices = new Map(); // name → {name, online, state, pull?}: what was sent last
  sent = 0;

  constructor({ url, user, password, version = 5, root = 'fleet', seed = 7, ...more }) {
    this.root = root;
    this.random = random(seed);
    this.client = mqtt.connect(url, { username: user, password, protocolVersion: version, clientId: `sim-${process.pid}-${Math.random()}`, ...more });
  }

  // The digest that every device should have of an image.
  goal(id) { return id === WEB ? AGENT : NEW; }

  connected() {
    return this.client.connected ? Promise.resolve() : new Promise((done, failed) => this.client.once('connect', done).once('error', failed));
  }

  publish(topic, payload, retain = true, qos = 1) {
    this.sent++;
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
    return this.client.publishAsync(`${this.root}/${topic}`, text, { retain, qos });
  }

  state(device) {
    device.state.time = iso(Date.now());
    return this.publish(`${device.name}/state`, device.state);
  }

  // `share` percent are pulling, some fail, some are offline, some have the old version.
  async populate(count, share = 5) {
    const now = Date.now(), r = this.random, waiting = [];
    for (let at = 0; at < count; at++) {
      const name = `pi-${String(at + 1).padStart(5, '0')}`, dice = r();
      const image = { id: APP, status: 'Done', text: 'Up to date', since: iso(now - 3e6 * r()), digest: NEW, latest: NEW, pulled: iso(now - 5.4e6 * (1 - r() ** 2)), checked: iso(now - 1.8e6 * r()), bytes: TOTAL, seconds: 181, exit: 0 };
      const other = { id: WEB, status: 'Done', text: 'Up to date', since: iso(now - DAY), digest: AGENT, latest: AGENT, pulled: iso(now - DAY * (3 + 50 * r())), checked: iso(now - 1.8e6 * r()), exit: 0 };
      const device = { name, online: 'online', state: { v: 1, device: name, site: SITES[Math.floor(r() * SITES.length)], images: [image, other],
        containers: [{ v: 1, name: 'player', image: APP, digest: NEW, status: 'Running', since: image.pulled }] } };
      const old = { digest: OLD, pulled: iso(now - 9 * DAY) };
      if (dice < .0075) {
        let pick = r() * 75;
        const [kind, details, hint] = REASONS.find(reason => (pick -= reason[3]) < 0) ?? REASONS[0], since = now - 6e5 - 4.4e6 * r();
        Object.assign(image, old, { status: 'Error', text: 'Failed', kind, details, hint, exit: 1, failing_since: iso(since), attempts: 1 + Math.floor((now - since) / 1.8e6) });
      } else if (dice < .0075 + share / 100) {
        Object.assign(image, old);
        this.begin(device, r() * .9);
      } else if (dice < .0275 + share / 100) device.online = 'offline';
      else if (dice < .1 + share / 100) Object.assign(image, old);
      device.state.containers[0].digest = image.digest;
      this.devices.set(name, device);
      waiting.push(this.state(device), this.publish(`${name}/online`, device.online));
      if (waiting.length > 500) await Promise.all(waiting.splice(0));
    }
    await Promise.all(waiting);
  }

  begin(device, part = 0) {
    const image = device.state.images[0];
    device.pull = { done: part * TOTAL, rate: (.4 + 3.6 * this.random()) * 1e6 };
    for (const name of ['kind', 'details', 'hint', 'failing_since', 'attempts']) delete image[name];
    Object.assign(image, { status: 'Working', text: 'Downloading', since: iso(Date.now()), attempt: 1, current: Math.floor(device.pull.done), total: TOTAL, percent: Math.floor(70 * part) });
  }

  end(device) {
    const image = device.state.images[0], now = iso(Date.now());
    delete device.pull;
    for (const name of ['current', 'total', 'percent', 'attempt']) delete image[name];
    Object.assign(image, { status: 'Done', text: 'Pulled', since: now, digest: NEW, latest: NEW, pulled: now, checked: now, exit: 0 });
    Object.assign(device.state.containers[0], { digest: NEW, since: now });
  }

  progress(device) {
    const { done, rate } = device.pull, part = done / TOTAL;
    let before = 0;
    const layers = LAYERS.map(([id, share]) => {
      const own = Math.min(1, Math.max(0, (part - before) / share));
      before += share;
      return { id, text: own >= 1 ? 'Download complete' : own > 0 ? 'Downloading' : 'Waiting', current: Math.floor(own * share * TOTAL), total: Math.floor(share * TOTAL), percent: Math.floor(100 * own) };
    });
    return this.publish(`${device.name}/progress`, { time: iso(Date.now()), id: APP, text: 'Downloading', current: Math.floor(done), total: TOTAL, percent: Math.floor(70 * part), rate: Math.floor(rate), left: Math.ceil((TOTAL - done) / rate), layers }, false, 0);
  }

  // One second of all pulls; who is done gives the turn to another.
  async step(tick) {
    const waiting = [];
    for (const device of [...this.devices.values()].filter(one => one.pull)) {
      device.pull.done += device.pull.rate * (.6 + .8 * this.random());
      if (device.pull.done >= TOTAL) {
        this.end(device);
        waiting.push(this.state(device));
        const next = [...this.devices.values()].find(one => !one.pull && one.online === 'online' && one.state.images[0].digest === OLD && one.state.images[0].status === 'Done');
        if (next) { this.begin(next); waiting.push(this.state(next)); }
        continue;
      }
      const image = device.state.images[0];
      Object.assign(image, { current: Math.floor(device.pull.done), percent: Math.floor(70 * device.pull.done / TOTAL) });
      if ((tick + Number(device.name.slice(-4))) % 15 === 0) waiting.push(this.state(device));
      waiting.push(this.progress(device));
    }
    await Promise.all(waiting);
  }

  async run(seconds, stopped = () => false) {
    for (let tick = 1, began = Date.now(); tick <= seconds && !stopped(); tick++) {
      await this.step(tick);
      await new Promise(done => setTimeout(done, Math.max(0, began + tick * 1000 - Date.now())));
    }
  }

  close() { return this.client.endAsync(true); }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { seconds: { type: 'string', default: '600' }, share: { type: 'string', default: '5' }, user: { type: 'string' }, password: { type: 'string' } } });
  const simulator = new Simulator({ url: positionals[0], user: values.user, password: values.password });
  await simulator.connected();
  await simulator.populate(Number(positionals[1]), Number(values.share));
  console.log(`${simulator.devices.size} devices told`);
  await simulator.run(Number(values.seconds));
  await simulator.close();
}
