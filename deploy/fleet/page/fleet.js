// The fleet as data: what each device is, and every sum that the page shows. It knows neither the page nor the broker, so that
// node can test it. Names and texts come from devices, so whatever is looked up by them is a Map.
'use strict';
globalThis.Fleet = (() => {
  // How a device is, the most urgent first. Each device is in exactly one.
  const CLASSES = ['failed', 'pulling', 'offline', 'behind', 'current', 'unknown'];
  const WITHIN = 3600e3; // a goal is what devices found at their registry in the last hour
  const AHEAD = 60e3; // a clock that is further ahead than this is wrong
  const EPOCH = Date.UTC(2024, 0); // and so is one that stands before the program was made

  // The milliseconds of a time as devices write it; NaN where it is none that can be believed.
  const time = (text, now) => {
    const at = typeof text === 'string' ? Date.parse(text) : NaN;
    return at >= EPOCH && at <= now + AHEAD ? at : NaN;
  };

  class Model {
    devices = new Map(); // device → {name, site, online (as told; null where never), time, images, containers, live, cls, main, ...}
    goals = new Map(); // image → the digest that it should have

    apply(name, { online, state }) {
      let device = this.devices.get(name);
      if (state === null || (online === null && !state && !device?.known)) return this.devices.delete(name);
      if (!device) this.devices.set(name, device = { name, site: '', online: null, known: false, images: [], containers: [], live: null });
      if (online !== undefined) device.online = online;
      if (state) Object.assign(device, state, { known: true });
      return device;
    }

    // What most devices found at the registry, an image at a time: not the newest that was pulled, for one test device would turn
    // the whole fleet to behind.
    findGoals(now) {
      const found = new Map();
      for (const device of this.devices.values()) for (const image of device.images) {
        if (!image.latest || !(now - time(image.checked ?? image.pulled, now) <= WITHIN)) continue;
        let counts = found.get(image.id);
        if (!counts) found.set(image.id, counts = new Map());
        counts.set(image.latest, (counts.get(image.latest) ?? 0) + 1);
      }
      for (const [id, counts] of found) {
        let best = 0;
        for (const [digest, count] of counts) if (count > best) { best = count; this.goals.set(id, digest); }
      }
    }

    isBehind(image) {
      const goal = this.goals.get(image.id) ?? image.latest;
      return goal !== undefined && image.digest !== undefined && image.digest !== goal || image.text === 'Newer image';
    }

    // The class of a device, and which of its images says why.
    judge(device) {
      const { images, containers } = device;
      const failed = images.find(image => image.status === 'Error');
      const bad = containers.find(one => one.status === 'Rolled back' || one.status === 'Failed');
      const working = images.find(image => image.status === 'Working');
      const behind = images.find(image => this.isBehind(image));
      device.main = failed ?? working ?? behind ?? images[0] ?? null;
      device.kind = failed ? failed.kind || 'other' : bad ? (bad.status === 'Failed' ? 'container' : 'rolled-back') : '';
      device.why = failed ? failed.details ?? '' : bad ? `container ${bad.name}: ${bad.details ?? bad.status}` : '';
      device.wasPulling = Boolean(working);
      device.cls = failed || bad ? 'failed' : device.online === 'offline' ? 'offline' : working ? 'pulling' : behind ? 'behind'
        : images.length ? 'current' : 'unknown';
      return device.cls;
    }

    // Everything that is summed, in one pass, so that no two sums on the page can differ.
    tally(now, image) {
      this.findGoals(now);
      const classes = new Map(CLASSES.map(cls => [cls, 0])), kinds = new Map(), sites = new Map(), images = new Map();
      const had = [], failing = [];
      let have = 0;
      for (const device of this.devices.values()) {
        const cls = this.judge(device);
        classes.set(cls, classes.get(cls) + 1);
        if (cls === 'failed') kinds.set(device.kind, (kinds.get(device.kind) ?? 0) + 1);
        if (device.site) sites.set(device.site, (sites.get(device.site) ?? 0) + 1);
        for (const one of device.images) {
          images.set(one.id, (images.get(one.id) ?? 0) + 1);
          if (one.id !== image) continue;
          have++;
          const at = time(one.pulled, now), since = time(one.failing_since, now);
          if (one.digest !== undefined && one.digest === this.goals.get(image) && at) had.push(at / 1000);
          if (one.status === 'Error' && since) failing.push(since / 1000);
        }
      }
      const largest = counts => [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
      return { all: this.devices.size, classes, kinds: largest(kinds), sites: [...sites.keys()].sort(), images: largest(images),
        curve: rollout(had, failing, have, now / 1000) };
    }

    // The rows that `filter` leaves, sorted.
    rows(filter, sort) {
      const query = filter.query.trim().toLowerCase(), rows = [];
      for (const device of this.devices.values()) {
        if (filter.cls && device.cls !== filter.cls || filter.site && device.site !== filter.site) continue;
        if (filter.kind && (device.cls !== 'failed' || device.kind !== filter.kind)) continue;
        if (query && !text(device).includes(query)) continue;
        rows.push([key(device, sort.by), device]);
      }
      const up = sort.up ? 1 : -1;
      rows.sort(([a, one], [b, other]) => (a < b ? -up : a > b ? up : one.name < other.name ? -1 : 1));
      return rows.map(([, device]) => device);
    }
  }

  const text = device => [device.name, device.site, device.why, ...device.images.flatMap(i => [i.id, i.digest, i.details, i.kind]),
    ...device.containers.map(one => one.name)].join('\n').toLowerCase();

  const key = (device, by) => {
    const main = device.main ?? {};
    switch (by) {
      case 'cls': return CLASSES.indexOf(device.cls);
      case 'name': return device.name;
      case 'site': return device.site;
      case 'image': return main.id ?? '';
      case 'digest': return main.digest ?? '';
      case 'percent': return device.cls === 'pulling' ? (device.live ?? main).percent ?? 0 : -1;
      case 'since': return -(Date.parse(main.failing_since ?? main.since) || 0);
      default: return device.why || main.details || '';
    }
  };

  // How many percent had the goal, and how many failed, at each point of time: from what devices remember, so no database.
  const rollout = (had, failing, have, now) => {
    if (!have || !had.length) return null;
    had.sort((a, b) => a - b);
    failing.sort((a, b) => a - b);
    const from = Math.min(had[0], now - 60), points = 240, xs = [], done = [], broken = [];
    for (let step = 0, a = 0, b = 0; step <= points; step++) {
      const x = from + (now - from) * step / points + (step === points ? AHEAD / 1000 : 0);
      while (a < had.length && had[a] <= x) a++;
      while (b < failing.length && failing[b] <= x) b++;
      xs.push(Math.min(x, now));
      done.push(100 * a / have);
      broken.push(100 * b / have);
    }
    return [xs, done, broken];
  };

  return { Model, CLASSES, time };
})();
