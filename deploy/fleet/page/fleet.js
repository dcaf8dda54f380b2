// The fleet as data: what each device is, and every sum that the page shows. Names and texts come from devices, so whatever is
// looked up by them is a Map.
'use strict';
const CLASSES = ['failed', 'pulling', 'offline', 'behind', 'current', 'unknown']; // the most urgent first; each device is in one
const AHEAD = 60e3; // a clock that is further ahead is wrong, and so is one from before the program was made
const WITHIN = 3600e3; // a goal is what devices found at their registry in the last hour
const POINTS = 240; // of the rollout curve
const LOST = 'The pull ended without a word';

// The milliseconds of a time; NaN where it cannot be believed.
function time(text) {
  const at = Date.parse(text);
  return at >= Date.UTC(2024) && at <= Date.now() + AHEAD ? at : NaN;
}
const isFailed = ({ status, lost }) => status === 'Error' || lost;
// Its own words for a reason and the page's are found alike.
const plain = text => text.toLowerCase().replaceAll('-', ' ');
const add = (counts, key) => counts.set(key, (counts.get(key) ?? 0) + 1);
const largest = counts => [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));

class Fleet {
  devices = new Map(); // name → its state, online ('' if it never published it), live, and what judge() adds
  goals = new Map(); // image → the digest that it should have
  connection = 0; // its number: the broker sends all retained messages in each

  apply(name, { online, state }) {
    const device = this.devices.get(name) ?? { online: '', images: [], containers: [], site: '' };
    Object.assign(device, state, { name, connection: this.connection });
    device.online = online ?? device.online;
    const isGone = state === null || device.time === undefined && !device.online;
    if (isGone) this.devices.delete(name); else this.devices.set(name, device);
  }

  // A device that was removed while there was no connection has no message in this one, so it is removed here.
  sweep() {
    for (const [name, { connection }] of this.devices) if (connection !== this.connection) this.devices.delete(name);
  }

  // The digest that most devices found, not the newest one: a single test device would turn the whole fleet to behind.
  findGoals() {
    const found = new Map(), after = Date.now() - WITHIN;
    for (const { images } of this.devices.values()) for (const { id, latest, checked, pulled } of images) {
      if (!latest || !(time(checked ?? pulled) >= after)) continue;
      if (!found.has(id)) found.set(id, new Map());
      add(found.get(id), latest);
    }
    for (const [id, digests] of found) this.goals.set(id, largest(digests)[0][0]);
  }

  goal({ id, latest }) { return this.goals.get(id) ?? latest; }

  isBehind(image) {
    const { digest, text } = image, goal = this.goal(image);
    return Boolean(goal && digest && digest !== goal) || text === 'Newer image' || text === 'Interrupted' && !digest;
  }

  // Sets the class of a device, the image that is the reason for it, and the fields of its row.
  judge(device) {
    const { images, containers } = device;
    const failed = images.find(isFailed);
    const broken = containers.find(one => one.status === 'Rolled back' || one.status === 'Failed');
    const working = images.find(image => image.status === 'Working' && !image.lost);
    const behind = images.find(image => this.isBehind(image));
    // Nobody could tell whether it is here.
    const unclear = images.find(image => image.status === 'Warning' && !image.digest);
    const main = failed ?? working ?? behind ?? unclear ?? images[0] ?? {};
    device.main = main;
    // What was told of a pull that is over is nothing to begin the next one with.
    if (!working) device.live = null;
    device.cls = failed || broken ? 'failed' : device.online === 'offline' ? 'offline' : working ? 'pulling'
      : behind ? 'behind' : images.length && !unclear ? 'current' : 'unknown';
    device.kind = failed ? failed.lost ? 'lost' : failed.kind || 'other' : broken?.status === 'Failed' ? 'container' : broken ? 'rolled-back' : '';
    device.detail = !failed && broken ? `container ${broken.name}: ${broken.details ?? broken.status}` : main.lost ? LOST : main.details ?? '';
    device.image = main.id ?? '';
    device.digest = main.digest ?? '';
    // The broker does not say since when a device is offline.
    device.since = device.cls !== 'offline' && -time(main.failing_since ?? main.since) || 0;
    device.percent = device.cls === 'pulling' ? this.latest(device, main).percent ?? 0 : -1;
  }

  // An image with the progress that was received since its last state.
  latest({ live }, image) { return image.status === 'Working' && live?.id === image.id ? { ...image, ...live } : image; }

  // All sums, in one pass over the devices, so that no two sums on the page can contradict each other.
  tally() {
    this.findGoals();
    const classes = new Map(CLASSES.map(cls => [cls, 0])), kinds = new Map(), sites = new Set(), images = new Map(), behind = new Set();
    for (const device of this.devices.values()) {
      this.judge(device);
      add(classes, device.cls);
      if (device.kind) add(kinds, device.kind);
      if (device.site) sites.add(device.site);
      for (const image of device.images) {
        add(images, image.id);
        if (this.isBehind(image)) behind.add(image.id);
      }
    }
    // A device that told of ever new images would fill this.
    for (const id of this.goals.keys()) if (!images.has(id)) this.goals.delete(id);
    return { classes, kinds: largest(kinds), sites: [...sites].sort(), images: largest(images).map(([id]) => id), behind };
  }

  // How many percent had the goal of an image, and how many failed, over time: from what devices remember, so no database.
  rollout(id) {
    const had = [], failing = [], now = Date.now();
    let all = 0;
    for (const { images } of this.devices.values()) for (const image of images) {
      if (image.id !== id) continue;
      all++;
      // Without a time that can be believed it counts from the beginning.
      if (image.digest && image.digest === this.goals.get(id)) had.push(time(image.pulled) || 0);
      if (isFailed(image)) failing.push(time(image.failing_since ?? image.since) || 0);
    }
    const from = had.reduce((a, b) => Math.min(a, b || a), now - 60e3), step = (now - from) / POINTS;
    const percent = times => {
      const counts = new Array(POINTS + 1).fill(0);
      for (const at of times) counts[Math.min(POINTS, Math.max(0, Math.ceil((at - from) / step)))]++;
      let sum = 0;
      return counts.map(n => 100 * (sum += n) / (all || 1));
    };
    return [Array.from({ length: POINTS + 1 }, (_, at) => (from + at * step) / 1000), percent(had), percent(failing)];
  }

  // The rows that `filter` leaves, sorted.
  rows(filter, { by, up }) {
    const query = plain(filter.query.trim());
    const key = device => (by === 'cls' ? CLASSES.indexOf(device.cls) : device[by]);
    const has = device => plain([device.name, device.site, device.kind, device.detail, ...device.containers.map(one => one.name),
      ...device.images.flatMap(({ id, digest, details, kind }) => [id, digest, details, kind])].join('\n')).includes(query);
    return [...this.devices.values()].filter(device => ['cls', 'kind', 'site'].every(name => !filter[name] || device[name] === filter[name])
      && (!query || has(device))).sort((one, other) => {
      const a = key(one), b = key(other);
      return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1) || (one.name < other.name ? -1 : 1);
    });
  }
}
