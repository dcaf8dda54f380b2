// The page in a real browser, against a real broker: what it shows is compared with what was sent.
//
// node --test tests/page/page.test.mjs; PICTURES=DIR says where the pictures go (default: target/page)
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Simulator } from './simulator.mjs';
import { Broker, Tab, VIEWER, WRITER, classOf, expected, launch, sleep, until } from './world.mjs';

let broker, browser, simulator;
before(async () => {
  broker = await Broker.start();
  browser = await launch();
  simulator = new Simulator({ url: broker.url, ...WRITER });
  await simulator.connected();
  await simulator.populate(300);
}, { timeout: 60_000 });
after(async () => {
  await simulator?.close();
  await browser?.close();
  await broker?.close();
});

const opened = async how => {
  const tab = await Tab.open(browser, broker.page, how);
  await tab.login();
  await tab.live(simulator.devices.size);
  return tab;
};
// Nothing broke, and no rule of the CSP was broken.
const clean = async tab => {
  assert.deepEqual(await tab.page.evaluate(() => window.violations), []);
  assert.deepEqual(tab.errors, []);
};
const agrees = (tab, ms) => until('totals and reasons are what was sent', async () => {
  const is = { totals: await tab.totals(), kinds: await tab.kinds() }, should = expected(simulator);
  try { assert.deepEqual(is, should); return true; } catch { return { is, should }; }
}, ms);

test('totals and reasons are what was sent, and filter the table', async () => {
  const tab = await opened();
  await agrees(tab);
  const { totals, kinds } = expected(simulator);
  assert.ok(totals.failed > 0 && totals.pulling > 0 && totals.offline > 0 && totals.behind > 0, 'the simulator tells some of each');
  // Above the filter and in the table it is the same devices.
  const shows = async (what, has) => {
    const rows = await tab.rows(), names = [...simulator.devices.values()].filter(has).map(one => one.name).sort();
    assert.deepEqual(rows.map(row => row.name), names.slice(0, rows.length), what);
    assert.ok(rows.length >= Math.min(names.length, 10), what);
    return rows;
  };
  for (const [cls, n] of Object.entries(totals)) {
    if (cls === 'unknown') continue;
    assert.equal(await tab.text(`#totals [value=${cls}] small`), `${(100 * n / 300).toFixed(1)}\u00a0%`);
    await tab.page.click(`#totals [value=${cls}]`);
    await until(`${cls} filters`, async () => (await tab.text('#shown')) === `${n} shown`);
    assert.equal(await tab.page.$eval(`#totals [value=${cls}]`, tile => tile.getAttribute('aria-pressed')), 'true');
    const rows = await shows(cls, one => classOf(simulator, one) === cls);
    const state = { current: /^Up to date$/, pulling: /^Downloading$/, failed: /^Failed$/, offline: /^Offline$/, behind: /^Behind$/ }[cls];
    for (const row of rows) assert.match(row.cls, state);
    if (cls === 'behind') for (const row of rows) assert.deepEqual([row.digest, row.detail], ['41f0c0aa41f0', 'goal: 9760a03b9760']);
    // Since when a device is offline, no message says.
    if (cls === 'offline') for (const row of rows) assert.match(`${row.since}|${row.detail}`, /^\|state as of \d+ (s|min) ago$/);
    await tab.page.click(`#totals [value=${cls}]`);
  }
  for (const [kind, n] of Object.entries(kinds)) {
    await tab.page.click(`#kinds [value="${kind}"]`);
    await until(`${kind} filters`, async () => (await tab.text('#shown')) === `${n} shown`);
    await shows(kind, one => one.state.images[0].kind === kind);
    await tab.page.click('#all');
  }
  const counts = await tab.page.$$eval('#kinds button:not([hidden]) b', counts => counts.map(count => Number(count.textContent)));
  assert.deepEqual(counts, [...counts].sort((a, b) => b - a), 'the most frequent reason is the first');
  await tab.picture('light');
  await clean(tab);
  await tab.close();
});

test('search and site narrow the table, its heads sort it', async () => {
  const tab = await opened();
  await tab.page.type('#query', 'PI-0012');
  await until('ten devices', async () => (await tab.text('#shown')) === '10 shown');
  assert.deepEqual(new Set((await tab.rows()).map(row => row.name.slice(0, 7))), new Set(['pi-0012']));
  await tab.page.click('#all');
  await until('all again', async () => (await tab.text('#shown')) === '' && (await tab.page.$eval('#query', query => query.value)) === '');
  const cologne = [...simulator.devices.values()].filter(one => one.state.site === 'Köln').length;
  await tab.page.select('#site', 'Köln');
  await until('one site', async () => (await tab.text('#shown')) === `${cologne} shown`);
  assert.ok((await tab.rows()).every(row => row.site === 'Köln'));
  await tab.page.click('#all');
  await until('no site', async () => (await tab.text('#shown')) === '');
  // All that a search finds: image, digest, reason, its kind, site and container.
  const find = async (query, has) => {
    const n = [...simulator.devices.values()].filter(has).length;
    assert.ok(n > 0, query);
    await tab.page.$eval('#query', query => query.value = '');
    await tab.page.type('#query', query);
    await until(`${query} finds ${n}`, async () => { const shown = await tab.text('#shown'); return shown === (n === 300 ? '' : `${n} shown`) || shown; });
  };
  const [{ state: { images: [{ latest }] } }] = simulator.devices.values(), failed = [...simulator.devices.values()].find(one => one.state.images[0].status === 'Error').state.images[0];
  await find('APPS/PLAYER', () => true);
  await find(latest.slice(7, 30), one => one.state.images[0].digest === latest);
  await find(failed.details, one => one.state.images[0].details === failed.details);
  await find(failed.kind, one => one.state.images[0].kind === failed.kind || one.state.images[0].details?.includes(failed.kind));
  // As the page writes it, and as the device does.
  const full = [...simulator.devices.values()].find(one => !one.pull), was = full.state.images;
  full.state.images = [{ ...was[0], status: 'Error', kind: 'disk-full', details: 'write /x: quota exceeded' }];
  await simulator.state(full);
  for (const query of ['Disk full', 'disk-full']) await find(query, one => one.state.images[0].kind === 'disk-full');
  full.state.images = was;
  await simulator.state(full);
  await find('münchen', one => one.state.site === 'München');
  await find('player', () => true);
  await tab.page.type('#query', 'no such thing');
  await until('said', async () => (await tab.text('#shown')) === 'No device matches.');
  await tab.page.click('#all');
  // By each column, both ways; equal ones by name.
  const names = [...simulator.devices.keys()].sort(), CLASSES = ['failed', 'pulling', 'offline', 'behind', 'current'];
  const columns = { name: one => one.name, site: one => one.state.site, image: one => one.state.images[0].id, digest: one => one.state.images[0].digest,
    percent: one => (classOf(simulator, one) === 'pulling' ? one.state.images[0].percent : -1), detail: one => one.state.images[0].details ?? '', cls: one => CLASSES.indexOf(classOf(simulator, one)),
    since: one => (classOf(simulator, one) === 'offline' ? 0 : -Date.parse(one.state.images[0].failing_since ?? one.state.images[0].since)) };
  for (const [column, key] of Object.entries(columns)) for (const [direction, turn] of [['ascending', 1], ['descending', -1]]) {
    await tab.page.click(`#head .c-${column} button`);
    assert.equal(await tab.page.$eval(`#head .c-${column}`, head => head.getAttribute('aria-sort')), direction);
    const wanted = [...simulator.devices.values()].map(one => [key(one), one.name]).sort(([a, name], [b, other]) => turn * (a < b ? -1 : a > b ? 1 : 0) || (name < other ? -1 : 1)).map(([, name]) => name);
    const shown = (await tab.rows()).map(row => row.name);
    assert.deepEqual(shown, wanted.slice(0, shown.length), `${column}, ${direction}`);
  }
  await tab.page.click('#head .c-name button');
  await tab.page.click('#head .c-name button');
  // Scrolled to its end, it has the last; and only as many elements as fit.
  await tab.page.$eval('#scroll', box => box.scrollTop = box.scrollHeight);
  await until('the last row', async () => (await tab.rows()).at(-1).name === names[0]);
  assert.ok((await tab.page.$$('#space .row')).length < 60);
  // The last device of the site that is looked at goes: the select says again what the table shows.
  await simulator.publish('alone/state', { v: 1, device: 'alone', site: 'Atlantis', images: [] });
  await until('its site', async () => await tab.page.$$eval('#site option', options => options.some(option => option.value === 'Atlantis')));
  await tab.page.select('#site', 'Atlantis');
  await until('it alone', async () => (await tab.text('#shown')) === '1 shown');
  await simulator.publish('alone/state', '');
  await until('all sites', async () => (await tab.page.$eval('#site', site => site.value)) === '' && (await tab.text('#shown')) === '' && !(await tab.visible('#all')));
  await clean(tab);
  await tab.close();
});

test('the drawer shows layers while pulling, and what to do where it fails', async () => {
  const tab = await opened();
  const failed = [...simulator.devices.values()].find(one => one.state.images[0].status === 'Error');
  await tab.page.type('#query', failed.name);
  await until('one device', async () => (await tab.text('#shown')) === '1 shown');
  await tab.page.click('#space .row:not([hidden])');
  await tab.page.waitForSelector('#device', { visible: true });
  const image = failed.state.images[0], drawer = await tab.text('#device');
  for (const part of [failed.name, failed.state.site, image.id, image.details, image.hint, image.digest, 'Failing since', `Runs${image.attempts}`, 'What runs', 'player', 'Running']) {
    assert.ok(drawer.includes(part), `the drawer has no ${part}: ${drawer}`);
  }
  await tab.picture('drawer-failed');
  await tab.page.click('#close');
  assert.equal(await tab.visible('#device'), false);
  const pulling = [...simulator.devices.values()].find(one => one.pull && one.pull.done / 214e6 < .5);
  await tab.page.$eval('#query', query => query.value = '');
  await tab.page.type('#query', pulling.name);
  await until('one device', async () => (await tab.text('#shown')) === '1 shown');
  await tab.page.click('#space .row:not([hidden])');
  await until('layers', async () => {
    await simulator.progress(pulling);
    await sleep(300);
    return (await tab.page.$$('#device tr')).length === 5;
  });
  const layers = await tab.page.$$eval('#device tr', rows => rows.map(row => row.cells[0].textContent));
  assert.deepEqual(layers, ['b9bf3f3b8299', '12414bf0d23c', 'b5a0d1a0b112', '3c9fd1a5a1e0', '77ae0c11d9aa']);
  // What is sent of layers, computed anew.
  const megabytes = n => (n < 1e6 ? `${Math.floor(n / 1e3)} KB` : `${Math.floor(n / 1e6)} MB`), sent = [];
  for (const share of [.05, .1, .45, .3, .1]) {
    const own = Math.min(1, Math.max(0, (pulling.pull.done / 214e6 - sent.reduce((sum, one) => sum + one.share, 0)) / share));
    sent.push({ share, text: own === 1 ? 'Download complete' : own ? 'Downloading' : 'Waiting', percent: Math.floor(100 * own), size: `${megabytes(own * share * 214e6)} of ${megabytes(share * 214e6)}` });
  }
  assert.deepEqual(await tab.page.$$eval('#device tr', rows => rows.map(({ cells: [, text, bar, size] }) => ({ text: text.textContent, percent: bar.firstChild.value, size: size.textContent }))),
    sent.map(({ share: _, ...one }) => one));
  const shown = await tab.page.$eval('#device section > progress', bar => bar.value);
  assert.equal(shown, Math.floor(70 * pulling.pull.done / 214e6));
  await tab.picture('drawer-pulling');
  await clean(tab);
  await tab.close();
});

test('the rollout curve ends where the fleet is', async () => {
  const tab = await opened();
  const have = [...simulator.devices.values()].filter(one => one.state.images[0].digest === simulator.goal(one.state.images[0].id)).length;
  const options = await tab.page.$$eval('#image option', options => options.map(option => option.value));
  assert.deepEqual(options.sort(), ['europe-west1-docker.pkg.dev/alm/apps/agent:2', 'europe-west1-docker.pkg.dev/alm/apps/player:stable']);
  assert.equal(await tab.page.$eval('#image', select => select.value), 'europe-west1-docker.pkg.dev/alm/apps/player:stable', 'the one that not everybody has');
  // All devices may be there before the last of their states.
  const end = 100 * have / simulator.devices.size;
  await until('the curve of all states', () => tab.page.evaluate(end => plot.data[1].at(-1) === end || plot.data[1].at(-1), end));
  const [at, done, broken] = await tab.page.evaluate(() => plot.data);
  assert.equal(await tab.text('#goal'), `9760a03b9760 · ${end.toFixed(1)}\u00a0%`);
  // At each of its points it has those that had pulled until then; a point is as wide as the time to the next.
  const pulled = [...simulator.devices.values()].map(one => one.state.images[0]).filter(image => image.digest === simulator.goal(image.id)).map(image => Date.parse(image.pulled) / 1000);
  const until_ = seconds => 100 * pulled.filter(time => time <= seconds).length / simulator.devices.size, width = at[1] - at[0];
  done.forEach((part, point) => assert.ok(part >= until_(at[point] - width) && part <= until_(at[point] + width), `${part} % at ${at[point]}`));
  assert.equal(at[0], Math.min(...pulled));
  assert.equal(broken.at(-1), 100 * expected(simulator).totals.failed / simulator.devices.size);
  const inked = await tab.page.$eval('#plot canvas', canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(value => value));
  assert.ok(inked, 'something is drawn');
  // Times have 24 hours, the first of a day has its date; an image that took days has dates.
  const labels = () => tab.page.evaluate(() => plot.axes[0]._values);
  for (const [at, label] of (await labels()).entries()) assert.match(label, at ? /^\d\d:\d\d(\n\d{1,2} [A-Z][a-z]{2})?$/ : /^\d\d:\d\d\n\d{1,2} [A-Z][a-z]{2}$/);
  await tab.page.select('#image', 'europe-west1-docker.pkg.dev/alm/apps/agent:2');
  await until('dates', async () => { const all = await labels(); return all.every(label => /^\d{1,2} [A-Z][a-z]{2}(\n\d{4})?$/.test(label)) || all; });
  await tab.close();
});

test('keyboard: through the table into the drawer and back', async () => {
  const tab = await opened();
  await tab.page.click('#head .c-name button');
  await tab.page.focus('#table');
  const key = name => tab.page.keyboard.press(name);
  const at = () => tab.page.$eval('#table', grid => grid.ariaActiveDescendantElement?.children[1].textContent);
  await key('ArrowDown');
  assert.equal(await at(), 'pi-00001');
  await key('ArrowDown');
  assert.equal(await at(), 'pi-00002');
  await key('End');
  assert.equal(await at(), 'pi-00300');
  await key('ArrowDown');
  assert.equal(await at(), 'pi-00300');
  await key('PageUp');
  assert.match(await at(), /^pi-002\d\d$/);
  await key('Home');
  await key('Enter');
  assert.equal(await tab.text('#device h2'), 'pi-00001');
  assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'device');
  await key('Tab');
  assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'close');
  await tab.picture('keyboard');
  await key('Escape');
  assert.equal(await tab.visible('#device'), false);
  assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'table');
  // With the drawer open and the focus in the table, the drawer follows.
  await key('Enter');
  await tab.page.focus('#table');
  await key('ArrowDown');
  assert.deepEqual([await at(), await tab.text('#device h2')], ['pi-00002', 'pi-00002']);
  await key('Escape');
  // Everything else by Tab alone.
  await tab.page.focus('#leave');
  const reached = new Set();
  for (let press = 0; press < 40; press++) { await key('Tab'); reached.add(await tab.page.evaluate(() => document.activeElement.id || document.activeElement.parentElement.className || document.activeElement.value)); }
  for (const wanted of ['failed', 'image', 'query', 'site', 'c-since', 'table']) assert.ok(reached.has(wanted), `${wanted} is not reached: ${[...reached]}`);
  await clean(tab);
  await tab.close();
});

test('a wide screen has room for the drawer beside the table, whose rows are clicked through', async () => {
  for (const [width, height] of [[1440, 900], [1920, 1080], [1280, 720]]) {
    const tab = await opened({ width, height });
    await agrees(tab);
    await tab.page.click('#totals [value=failed]');
    const edge = (selector, side) => tab.page.$eval(selector, (element, side) => element.getBoundingClientRect()[side], side), before_ = await edge('#plot canvas', 'right');
    const failed = [...simulator.devices.values()].filter(one => classOf(simulator, one) === 'failed');
    assert.ok(failed.length > 1);
    for (const [at, { name, state }] of failed.entries()) {
      await tab.page.click(`#space .row:nth-child(${at + 1})`);
      assert.equal(await tab.text('#device h2'), name);
      const left = await edge('#device', 'left');
      for (const part of ['#head .c-detail', `#space .row:nth-child(${at + 1}) .c-detail`, '#leave', '#totals', '#plot canvas', '#kinds']) assert.ok(await edge(part, 'right') <= left, `${part} is below the drawer, ${width}`);
      const row = await tab.page.$eval(`#space .row:nth-child(${at + 1})`, row => ({ reason: row.lastChild.clientWidth, text: row.lastChild.textContent }));
      assert.ok(row.reason >= 140 && row.text === state.images[0].details, `${JSON.stringify(row)} at ${width}`);
    }
    await tab.picture(`drawer-beside-${width}`);
    await tab.page.click('#close');
    await until('the curve has its room again', async () => (await edge('#plot canvas', 'right')) === before_);
    await clean(tab);
    await tab.close();
  }
});

test('390 px: nothing is wider than the screen, and dark has contrast', async () => {
  const tab = await opened({ width: 390, height: 844, scheme: 'dark' });
  await agrees(tab);
  assert.equal(await tab.page.evaluate(() => document.documentElement.scrollWidth), 390);
  await tab.picture('phone-dark');
  await tab.page.$eval('#list', list => list.scrollIntoView());
  await tab.picture('phone-dark-list');
  await tab.page.click('#space .row:not([hidden])');
  await tab.page.waitForSelector('#device', { visible: true });
  assert.ok(await tab.page.$eval('#device', drawer => drawer.scrollWidth <= 390));
  await tab.picture('phone-dark-drawer');
  // Layers too: each has a bar to be seen, and nothing is cut.
  const pulling = [...simulator.devices.values()].find(one => one.pull);
  await tab.page.click('#close');
  await tab.page.type('#query', pulling.name);
  await tab.page.click('#space .row:not([hidden])');
  await until('layers', async () => { await simulator.progress(pulling); await sleep(300); return (await tab.page.$$('#device tr')).length === 5; });
  assert.ok(await tab.page.$eval('#device', drawer => drawer.scrollWidth <= 390));
  for (const width of await tab.page.$$eval('#device tr progress', bars => bars.map(bar => bar.clientWidth))) assert.ok(width >= 50, `a bar of ${width} px`);
  await tab.picture('phone-dark-layers');
  await tab.close();
  for (const scheme of ['dark', 'light']) {
    const wide = await opened({ scheme });
    await wide.page.click('#space .row:not([hidden])');
    // WCAG AA of every colour that text has, against the ground it stands on.
    const poor = await wide.page.evaluate(() => {
      const parts = color => color.match(/[\d.]+/g).map(Number), light = color => { const [r, g, b] = parts(color).slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
      const ground = light(getComputedStyle(document.body).backgroundColor), query = document.getElementById('query');
      const [hint, field] = [getComputedStyle(query, '::placeholder').color, getComputedStyle(query).backgroundColor].map(light).sort((a, b) => b - a);
      return [['placeholder', (hint + .05) / (field + .05)], ...[...document.querySelectorAll('#link, #count, #totals *, #kinds *, #space .row:not([hidden]) *, #device:not([hidden]) *')].map(element => {
        const own = light(getComputedStyle(element).color), [low, high] = [own, ground].sort((a, b) => a - b);
        return [element.className, (high + .05) / (low + .05)];
      })].filter(([, contrast]) => contrast < 4.5);
    });
    assert.deepEqual(poor, [], scheme);
    await wide.picture(scheme);
    await clean(wide);
    await wide.close();
  }
});

test('login: wrong, then right; kept for the tab, never in the address', async () => {
  const tab = await Tab.open(browser, broker.page);
  await tab.login({ user: VIEWER.user, password: 'wrong' });
  await until('refused', async () => (await tab.text('#refused')).includes('refused'));
  assert.equal(await tab.text('#link'), 'login refused');
  await tab.picture('login-refused');
  assert.equal(await tab.page.evaluate(() => document.activeElement.id), 'password');
  assert.equal(await tab.visible('#totals'), false);
  assert.equal(await tab.page.evaluate(() => sessionStorage.length + localStorage.length), 0);
  await sleep(3500);
  assert.equal(await tab.text('#link'), 'login refused', 'it is not tried again');
  await tab.login();
  await tab.live(simulator.devices.size);
  assert.equal(await tab.page.evaluate(() => location.href), broker.page);
  assert.equal(await tab.page.evaluate(() => localStorage.length + document.cookie.length), 0);
  await tab.page.reload();
  await tab.live(simulator.devices.size);
  await tab.page.click('#leave');
  await tab.page.waitForSelector('#user', { visible: true });
  assert.equal(await tab.page.evaluate(() => sessionStorage.length), 0);
  await clean(tab);
  await tab.close();
  const other = await Tab.open(browser, broker.page);
  await other.page.waitForSelector('#user', { visible: true });
  await other.close();
});

test('names, sites and texts of the hostile are only text', async () => {
  const markup = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>', bidi = '\u202egpj.exe', long = 'x'.repeat(10_000);
  const image = more => ({ id: 'img:1', status: 'Error', text: 'Failed', kind: '__proto__', details: markup, hint: bidi, failing_since: new Date(Date.now() - 6e5).toISOString(), ...more });
  const told = new Map([[long, { site: long }], ['__proto__', { images: [image({ kind: 'constructor' })] }], ['constructor', { site: '__proto__', images: [image()] }], [markup.replaceAll('/', '|').replaceAll('#', ''), { site: markup, images: [image({ details: long })] }],
    ['bidi', { site: bidi, images: [image({ id: `${bidi}:1`, kind: markup })], containers: [{ name: markup, status: markup }] }], ['toString', { images: 'none', containers: { 0: 1 } }], ['numbers', { site: 7, images: [image({ attempts: 'many', details: { a: 1 } }), 3, null, []] }]]);
  const raw = { 'not-json': '{"v":1', 'null': 'null', 'deep': '['.repeat(20_000), 'large': JSON.stringify({ v: 1, site: 'S'.repeat(64_000) }) };
  for (const [name, state] of told) await simulator.publish(`${name}/state`, { v: 1, device: name, time: bidi, ...state });
  for (const [name, text] of Object.entries(raw)) await simulator.publish(`${name}/state`, text);
  await simulator.publish('a/b/state', { v: 1, images: [] });
  await simulator.publish('once/online', 'online');
  const tab = await Tab.open(browser, broker.page);
  await tab.login();
  // Those that are no state at all are not seen; `once` has said that it is there and nothing else.
  await tab.live(simulator.devices.size + told.size + 2);
  await until('totals', async () => (await tab.totals()).failed === expected(simulator).totals.failed + 5 || await tab.totals());
  // And those without an image.
  assert.equal((await tab.totals()).unknown, 4);
  const kinds = await tab.kinds();
  assert.equal(kinds.constructor, 1);
  assert.equal(Object.entries(kinds).find(([kind]) => kind.startsWith('<img'))?.[1], 1);
  await tab.page.type('#query', 'img:1');
  await sleep(300);
  await tab.picture('hostile');
  for (let n = 0; n < 4; n++) {
    await tab.page.evaluate(at => [...document.querySelectorAll('#space .row')].filter(row => !row.hidden)[at].click(), n);
    assert.ok(await tab.visible('#device'));
    const seen = await tab.page.evaluate(() => document.body.textContent);
    assert.ok(!/[\u202a-\u202e\u2066-\u2069]/.test(seen), 'nothing turns the order of reading');
  }
  await tab.picture('hostile-drawer');
  assert.equal(await tab.page.evaluate(() => window.owned), undefined);
  assert.equal(await tab.page.evaluate(() => ({}).polluted ?? document.querySelectorAll('#list img, #device img, main script, aside script').length), 0);
  await clean(tab);
  // Removed by empty messages, as an operator would.
  for (const name of [...told.keys(), ...Object.keys(raw), 'a/b']) await simulator.publish(`${name}/state`, '');
  await simulator.publish('once/online', '');
  await tab.live(simulator.devices.size);
  await tab.close();
});

test('a pull that was lost has failed, and what did not fit into a message is said', async () => {
  const tab = await opened(), before_ = expected(simulator).totals, [{ state }] = simulator.devices.values();
  const image = { ...state.images[1], status: 'Working', text: 'Downloading', percent: 40 };
  await simulator.publish('lost/state', { ...state, device: 'lost', images: [image], left_out: 3 });
  await until('it pulls', async () => (await tab.totals()).pulling === before_.pulling + 1 || await tab.totals());
  await simulator.publish('lost/state', { ...state, device: 'lost', images: [{ ...image, lost: true }], left_out: 3 });
  await until('it failed', async () => { const { pulling, failed } = await tab.totals(); return pulling === before_.pulling && failed === before_.failed + 1 || [pulling, failed]; });
  assert.equal((await tab.kinds()).lost, 1);
  await tab.page.select('#image', image.id);
  await until('in the curve too', () => tab.page.evaluate(all => { draw(); return Math.abs(plot.data[2].at(-1) - 100 / all) < .01 || plot.data[2].at(-1); }, simulator.devices.size + 1));
  await tab.page.type('#query', 'lost');
  await tab.page.click('#space .row:not([hidden])');
  assert.equal((await tab.rows())[0].detail, 'The pull ended without a word');
  await until('said', async () => { const text = await tab.text('#device'); return text.includes('The pull ended without a word') && text.includes('Images left out3') || text; });
  await simulator.publish('lost/state', '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('an image that is not here is not up to date', async () => {
  const tab = await opened(), before_ = await tab.totals(), [{ state }] = simulator.devices.values(), { digest, pulled, ...image } = state.images[1];
  const told = (name, more) => simulator.publish(`${name}/state`, { ...state, device: name, images: [{ ...image, ...more }] });
  await told('not-1', { status: 'Warning', text: 'Interrupted' });
  await told('not-2', { status: 'Warning', text: 'Newer image' });
  await told('not-3', { status: 'Warning', text: 'Cannot tell', details: 'no route to host' });
  await told('not-4', { status: 'Warning', text: 'Interrupted', digest, pulled });
  await tab.live(simulator.devices.size + 4);
  await until('two are behind, of one nothing is known', async () => {
    const { current, behind, unknown } = await tab.totals(), is = [current - before_.current, behind - before_.behind, unknown];
    return is.join() === '1,2,1' || is;
  });
  await tab.page.type('#query', 'not-');
  await tab.page.click('#head .c-name button');
  await until('four rows', async () => (await tab.text('#shown')) === '4 shown');
  assert.deepEqual((await tab.rows()).map(({ cls, detail }) => `${cls}: ${detail}`), ['Behind: not here · interrupted · goal: 7c0ffee17c0f', 'Behind: not here · goal: 7c0ffee17c0f', 'Nothing known: no route to host', 'Up to date: ']);
  await tab.page.click('#space .row:nth-child(2)');
  const text = await tab.text('#device');
  assert.ok(text.includes('StateNot here') && !text.includes('Newer image'), text);
  await tab.picture('not-here');
  for (let at = 1; at < 5; at++) await simulator.publish(`not-${at}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('an image that was there before the first pull counts in the rollout', async () => {
  const tab = await opened(), now = new Date().toISOString(), digest = `sha256:${'d'.repeat(64)}`;
  await simulator.publish('there-1/state', { v: 1, time: now, images: [{ id: 'there:1', status: 'Done', text: 'Up to date', digest, latest: digest, checked: now }] });
  await simulator.publish('there-2/state', { v: 1, time: now, images: [{ id: 'there:1', status: 'Done', text: 'Up to date', digest: `sha256:${'c'.repeat(64)}` }] });
  await tab.live(simulator.devices.size + 2);
  await until('its image', () => tab.page.evaluate(() => { draw(); return [...document.querySelectorAll('#image option')].some(one => one.value === 'there:1'); }));
  await tab.page.select('#image', 'there:1');
  await until('half', async () => (await tab.text('#goal')) === 'dddddddddddd · 50.0\u00a0%' || await tab.text('#goal'));
  assert.deepEqual(await tab.page.evaluate(() => [...new Set(plot.data[1])]), [50], 'from the beginning');
  for (const name of ['there-1', 'there-2']) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('row and drawer are of the same moment, at each moment', async () => {
  const tab = await opened(), [{ state }] = simulator.devices.values(), image = { ...state.images[1], status: 'Working', text: 'Downloading', attempt: 2, total: 4e9, since: new Date().toISOString() };
  await simulator.publish('moving/state', { ...state, device: 'moving', images: [image] });
  await tab.page.type('#query', 'moving');
  await until('one', async () => (await tab.text('#shown')) === '1 shown');
  await tab.page.click('#space .row:not([hidden])');
  await tab.page.evaluate(() => {
    window.pairs = new Set();
    const look = () => {
      window.pairs.add([document.querySelector('#space .row:not([hidden]) .c-detail')?.textContent, document.querySelector('#device .far')?.textContent ?? ''].join('|'));
      requestAnimationFrame(look);
    };
    look();
  });
  for (let at = 1; at <= 60; at++) {
    await simulator.publish('moving/progress', { id: image.id, text: 'Downloading', percent: at, current: at * 1e7, total: 4e9, rate: 7e6, left: 600 - at }, false, 0);
    if (at === 30) await simulator.publish('moving/state', { ...state, device: 'moving', images: [{ ...image, percent: 30, current: 3e8 }] });
    await sleep(80);
  }
  const pairs = await tab.page.evaluate(() => [...window.pairs]);
  assert.ok(pairs.length > 3, pairs.join(' '));
  for (const pair of pairs) { const [row, drawer] = pair.split('|'); assert.equal(row, drawer); }
  assert.ok((await tab.text('#device')).includes('StateDownloading, attempt 2'));
  await simulator.publish('moving/state', '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('the curve’s times stand apart, however wide it is and however long it took', async () => {
  const tab = await opened();
  const poor = await tab.page.evaluate(async () => {
    const poor = [], { ctx } = plot, end = Date.now() / 1000;
    for (let width = 300; width < 1200; width += 53) for (const seconds of [60, 300, 3000, 5400, 20_000, 90_000, 9 * 86_400, 60 * 86_400, 400 * 86_400]) {
      plot.setSize({ width, height: 155 });
      plot.setData([[end - seconds, end], [0, 0], [0, 0]]);
      await Promise.resolve();
      const [{ _splits, _values, font }] = plot.axes;
      ctx.font = font[0];
      const labels = _splits.map((split, at) => ({ at: plot.valToPos(split, 'x', true), half: Math.max(...(_values[at] ?? '').split('\n').map(line => ctx.measureText(line).width)) / 2 }));
      labels.slice(1).forEach(({ at, half }, before) => { const gap = at - half - labels[before].at - labels[before].half; if (gap < 6) poor.push([width, seconds, gap]); });
    }
    return poor;
  });
  assert.deepEqual(poor, []);
  await tab.close();
});

test('a clock that is wrong: the device counts, is marked, and does not move the curve', async () => {
  const tab = await opened(), before_ = expected(simulator).totals, now = Date.now(), points = () => tab.page.evaluate(() => [plot.data[0][0], plot.data[0].at(-1)]);
  const [from] = await points(), { state } = [...simulator.devices.values()].find(one => one.online === 'online' && !one.pull && one.state.images[0].digest === simulator.goal(one.state.images[0].id));
  for (const [name, at, more] of [['clock-past', '2019-02-14T10:11:12Z', { clock: 'wrong' }], ['clock-ahead', new Date(now + 3 * 3600e3).toISOString(), {}]]) {
    const [image, other] = state.images.map(one => ({ ...one, since: at, pulled: at, checked: at }));
    await simulator.publish(`${name}/state`, { ...state, device: name, time: at, images: [image, other], ...more });
  }
  await until('both count', async () => (await tab.totals()).current === before_.current + 2 || await tab.totals());
  const [after_, end] = await points();
  assert.ok(Math.abs(after_ - from) < 1 && end < now / 1000 + 90, `the curve is from ${from} to ${end}`);
  await tab.page.type('#query', 'clock-past');
  await tab.page.click('#space .row:not([hidden])');
  await until('marked', async () => { const text = await tab.text('#device'); return text.includes('Clockwrong') && text.includes('2019-02-14T10:11:12Z (clock is wrong)') || text; });
  await tab.picture('drawer-clock');
  for (const name of ['clock-past', 'clock-ahead']) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('a device that never said it is online is not offline', async () => {
  const [name] = [...simulator.devices.keys()].slice(-1), device = simulator.devices.get(name), { state } = device, before_ = expected(simulator).totals;
  await simulator.publish('reporter/state', { ...state, device: 'reporter', images: [{ ...state.images[1] }] });
  const tab = await Tab.open(browser, broker.page);
  await tab.login();
  await tab.live(simulator.devices.size + 1);
  await until('up to date', async () => (await tab.totals()).current === before_.current + 1 || await tab.totals());
  await simulator.publish('reporter/online', 'offline');
  await until('offline', async () => (await tab.totals()).offline === before_.offline + 1);
  await simulator.publish('reporter/online', 'online');
  await until('online', async () => (await tab.totals()).offline === before_.offline);
  await simulator.publish('reporter/online', '');
  await simulator.publish('reporter/state', '');
  await tab.live(simulator.devices.size);
  await tab.close();
});

test('what a device says wrongly of itself: one vote an image, no number below zero, no endless one, no old progress', async () => {
  const now = new Date().toISOString(), fake = `sha256:${'f'.repeat(64)}`, tab = await opened(), { images } = simulator.devices.get('pi-00001').state;
  const told = (name, state) => simulator.publish(`${name}/state`, typeof state === 'string' ? state : { v: 1, device: name, time: now, ...state });
  // As often as a message holds, which is more often than the fleet has it.
  await told('votes', { site: 'Rome', images: Array(200).fill({ id: 'rare:1', status: 'Done', digest: fake, latest: fake, checked: now }) });
  for (const name of ['honest-1', 'honest-2']) await told(name, { images: [{ id: 'rare:1', status: 'Done', digest: images[0].latest, latest: images[0].latest, checked: now, pulled: now }] });
  const names = ['votes', 'honest-1', 'honest-2'];
  await tab.live(simulator.devices.size + 3);
  await until('the goal is that of two', () => tab.page.evaluate(goal => { draw(); return fleet.goals.get('rare:1') === goal || fleet.goals.get('rare:1'); }, images[0].latest));
  await tab.page.select('#image', 'rare:1');
  await until('two of three have it', () => tab.page.evaluate(() => Math.round(plot.data[1].at(-1)) === 67 && fleet.tally().behind.has('rare:1') && fleet.devices.get('votes').cls === 'behind'));
  // Another site, and in its place nothing of the old one; the image that it no longer has is no goal any more.
  await told('votes', { site: 'Wien', images: [{ id: 'gone:1', latest: fake, checked: now }] });
  await told('votes', { site: 'Graz', images: [] });
  for (const name of ['honest-1', 'honest-2']) await told(name, '');
  await until('Graz', () => tab.page.evaluate(() => { draw(); return [...document.querySelectorAll('#site option')].some(one => one.value === 'Graz') && ![...document.querySelectorAll('#site option')].some(one => one.value === 'Rome'); }));
  await until('no goals of images that nobody has', () => tab.page.evaluate(() => { draw(); return ![...fleet.goals.keys()].some(id => !id.startsWith('europe-west1')) || [...fleet.goals.keys()]; }));
  // Numbers.
  const working = { id: 'n:1', status: 'Working', text: 'Downloading', since: now };
  await told('numbers', `{"v":1,"time":"${now}","left_out":-3,"images":[{"id":"n:1","status":"Working","text":"Downloading","percent":-40,"current":-1,"total":1e999,"rate":"7","left":-9}]}`);
  names.push('numbers');
  await tab.page.type('#query', 'numbers');
  await until('the row', async () => (await tab.text('#shown')) === '1 shown');
  assert.equal((await tab.rows())[0].detail, '');
  await tab.page.click('#space .row:not([hidden])');
  assert.ok(!/-|Infinity|NaN|undefined/.test(await tab.page.$eval('#device section dl', list => list.textContent)));
  // More layers than a message holds are no message; what it holds is shown up to 256.
  const layers = n => Array.from({ length: n }, (_, at) => ({ id: `layer${at}`, text: 'Waiting', percent: at }));
  await told('numbers', { images: [working] });
  await until('layers', async () => {
    await simulator.publish('numbers/progress', { time: now, id: 'n:1', text: 'Downloading', percent: 55, layers: layers(1000) }, false, 0);
    await sleep(300);
    return (await tab.page.$$('#device tr')).length === 256;
  });
  assert.equal(await tab.page.$eval('#device tr:nth-child(200) progress', bar => bar.value), 100);
  // The pull is over, and another one begins: at nothing, not at 55 %.
  await told('numbers', { images: [{ ...working, status: 'Done', text: 'Pulled' }] });
  await until('pulled', async () => (await tab.text('#device')).includes('Pulled'));
  await told('numbers', { images: [working] });
  await until('again', async () => (await tab.text('#device section')).includes('Downloading'));
  assert.equal(await tab.page.$eval('#device section > progress', bar => bar.value), 0);
  // The failing image comes first, whatever the order in the message.
  await told('numbers', { images: [{ id: 'a:1', status: 'Done', digest: fake, pulled: new Date(Date.now() - 5_400_000).toISOString() }, { id: 'z:1', status: 'Error', text: 'Failed', kind: 'login' }] });
  await until('z:1', async () => (await tab.text('#device h3')) === 'z:1');
  assert.match(await tab.text('#device .pulled'), /\(1 h 30 min ago\)$/);
  assert.match(await tab.page.$eval('#device .digest', digest => getComputedStyle(digest).fontFamily), /monospace/);
  await clean(tab);
  for (const name of names) await told(name, '');
  await tab.close();
});

test('a container that failed is a device that failed; who fails offline says both', async () => {
  const tab = await opened(), before_ = expected(simulator), [{ state }] = simulator.devices.values(), since = new Date(Date.now() - 600e3).toISOString();
  const told = (name, status, details, images = [state.images[1]]) => simulator.publish(`${name}/state`, { ...state, device: name, images, containers: [{ name: 'web', image: 'web:1', status, details, since }] });
  await told('broken', 'Failed', 'exited with 137');
  await told('returned', 'Rolled back');
  await simulator.publish('broken/online', 'offline');
  await until('both failed', async () => (await tab.totals()).failed === before_.totals.failed + 2 || await tab.totals());
  assert.deepEqual(await tab.kinds(), { ...before_.kinds, container: 1, 'rolled-back': 1 });
  await tab.page.click('#kinds [value=container]');
  await until('one', async () => (await tab.text('#shown')) === '1 shown');
  const [{ name, cls, detail }] = await tab.rows();
  assert.deepEqual({ name, cls, detail }, { name: 'broken', cls: 'Failed, offline', detail: 'container web: exited with 137' });
  await tab.page.click('#space .row:not([hidden])');
  for (const part of ['What runs', 'Nameweb', 'StateFailed', 'exited with 137', 'Imageweb:1', '(10 min ago)']) assert.ok((await tab.text('#device')).includes(part), part);
  await tab.page.click('#kinds [value=rolled-back]');
  await until('the other', async () => { const [{ name, cls, detail }] = await tab.rows(); return [name, cls, detail].join() === 'returned,Failed,container web: Rolled back' || [name, cls, detail]; });
  await simulator.publish('broken/online', '');
  for (const name of ['broken', 'returned']) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('the goal is what most found in the last hour, not what is newest, nor what was found before', async () => {
  const tab = await opened(), now = Date.now(), digest = letter => `sha256:${letter.repeat(64)}`;
  const told = (name, own, latest, minutes) => simulator.publish(`${name}/state`, { v: 1, device: name, time: new Date(now).toISOString(),
    images: [{ id: 'goal:1', status: 'Done', digest: digest(own), latest: digest(latest), checked: new Date(now - minutes * 60e3).toISOString(), pulled: new Date(now - minutes * 60e3).toISOString() }] });
  const goal = letter => until(`the goal is ${letter}`, () => tab.page.evaluate(goal => { draw(); return fleet.goals.get('goal:1') === goal || fleet.goals.get('goal:1'); }, digest(letter)));
  const before_ = expected(simulator).totals, names = ['old-1', 'old-2', 'old-3', 'now-1', 'now-2', 'test'];
  for (const name of names.slice(0, 3)) await told(name, 'a', 'a', 61);
  await tab.live(simulator.devices.size + 3);
  // Nobody has found anything within the hour: no goal, so nobody is behind it.
  await until('no goal', () => tab.page.evaluate(() => { draw(); return !fleet.goals.has('goal:1'); }));
  await tab.page.select('#image', 'goal:1');
  await until('said', async () => (await tab.text('#goal')) === 'no device found a version at its registry in the last hour' && !(await tab.visible('#plot')));
  await told('now-1', 'b', 'b', 30);
  await told('now-2', 'b', 'b', 20);
  await goal('b');
  await until('the older three are behind', async () => (await tab.totals()).behind === before_.behind + 3 || await tab.totals());
  await told('test', 'c', 'c', 0);
  await tab.live(simulator.devices.size + 6);
  await goal('b');
  // The curve is there again, and as wide as its place.
  await until('drawn', () => tab.page.evaluate(() => plot.width === document.getElementById('plot').clientWidth && plot.width > 300 && document.getElementById('plot').checkVisibility()));
  for (const name of names) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('no two sums contradict each other at any moment', async () => {
  const tab = await opened(), [{ state }] = simulator.devices.values();
  await tab.page.evaluate(() => {
    window.sums = [];
    const number = element => Number(element.textContent.replace(/[^\d]/g, '')), sum = list => [...document.querySelectorAll(`${list} button:not([hidden]) b`)].reduce((all, count) => all + number(count), 0);
    new MutationObserver(() => window.sums.push([number(document.getElementById('count')), sum('#totals'), number(document.querySelector('#totals [value=failed] b')), sum('#kinds')].join()))
      .observe(document.body, { subtree: true, characterData: true, childList: true });
  });
  const names = Array.from({ length: 40 }, (_, at) => `flip-${at}`);
  for (let turn = 0; turn < 20; turn++) {
    await Promise.all(names.map((name, at) => simulator.publish(`${name}/state`, at < 7 * turn % 40 ? { ...state, device: name, images: [{ ...state.images[1], status: 'Error', kind: at % 2 ? 'login' : 'stalled' }] } : '')));
    await sleep(200);
  }
  const seen = new Set(await tab.page.evaluate(() => window.sums));
  assert.ok(seen.size > 3, [...seen].join(' '));
  for (const sums of seen) {
    const [count, totals, failed, kinds] = sums.split(',').map(Number);
    assert.deepEqual([totals, kinds], [count, failed], sums);
  }
  for (const name of names) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('progress is asked for of no more than 45 devices, of those that are seen and the one in the drawer', async () => {
  const tab = await opened({ width: 1440, height: 3000 }), [{ state }] = simulator.devices.values(), names = Array.from({ length: 60 }, (_, at) => `watched-${String(at).padStart(2, '0')}`);
  await tab.page.evaluate(() => {
    const post = worker.postMessage.bind(worker);
    worker.postMessage = message => { if (message.watch) window.watch = message.watch; post(message); };
  });
  for (const name of names) await simulator.publish(`${name}/state`, { ...state, device: name, images: [{ ...state.images[1], status: 'Working', text: 'Downloading' }] });
  await tab.live(simulator.devices.size + 60);
  await tab.page.type('#query', 'watched');
  await until('45 of 60', () => tab.page.evaluate(() => window.watch?.length === 45 && window.watch.every(name => name.startsWith('watched')) || window.watch));
  assert.equal((await tab.rows()).length, 60);
  await tab.page.evaluate(() => [...document.querySelectorAll('#space .row:not([hidden])')].at(-1).click());
  await until('the last, as its drawer is open', () => tab.page.evaluate(() => window.watch.length === 45 && new Set(window.watch).size === 45 && window.watch[0] === 'watched-59' || window.watch));
  // The broker has them, and sends what is published.
  await simulator.publish('watched-59/progress', { id: state.images[1].id, text: 'Extracting', percent: 42 }, false, 0);
  await until('it is shown', async () => (await tab.page.$eval('#device section > progress', bar => bar.value)) === 42 && (await tab.text('#device')).includes('Extracting'));
  await tab.page.click('#close');
  await tab.page.$eval('#query', query => query.value = '');
  await tab.page.type('#query', 'watched-07');
  await until('one', () => tab.page.evaluate(() => window.watch.join() === 'watched-07' || window.watch));
  for (const name of names) await simulator.publish(`${name}/state`, '');
  await tab.live(simulator.devices.size);
  await clean(tab);
  await tab.close();
});

test('settings.json: a root of two levels, MQTT 3.1.1, and the next broker where the first is not there', async () => {
  const settings = path.join(broker.dir, 'site/settings.json'), before_ = fs.readFileSync(settings), part = new Simulator({ url: broker.url, ...WRITER, root: 'fleet/eu', version: 4 });
  try {
    await part.connected();
    await part.populate(20);
    fs.writeFileSync(settings, JSON.stringify({ root: 'fleet/eu', version: 4, brokers: ['wss://127.0.0.1:1/mqtt', '/'] }));
    const tab = await Tab.open(browser, broker.page);
    await tab.login();
    await tab.live(20);
    const wanted = expected(part).totals;
    await until('its totals', async () => JSON.stringify(await tab.totals()) === JSON.stringify(wanted) || await tab.totals());
    assert.deepEqual(await tab.page.evaluate(() => window.violations), []);
    await tab.close();
  } finally {
    fs.writeFileSync(settings, before_);
    for (const name of part.devices.keys()) for (const topic of ['state', 'online']) await part.publish(`${name}/${topic}`, '');
    await part.close();
  }
});

test('all of it is from its own server, mqtt.js runs in a worker made of a Blob, and the CSP is in force', async () => {
  const tab = await opened();
  const from = await tab.page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => name));
  for (const file of ['page.js', 'fleet.js', 'page.css', 'settings.json', 'mqtt.min.js', 'worker.js', 'uPlot.iife.min.js', 'uPlot.min.css']) assert.ok(from.some(name => name === new URL(file, broker.page).href), file);
  for (const name of from) assert.equal(new URL(name).origin, new URL(broker.page).origin);
  assert.deepEqual(tab.page.workers().map(worker => worker.url().split(':')[0]), ['blob']);
  assert.deepEqual(await tab.page.evaluate(() => [typeof mqtt, typeof uPlot]), ['undefined', 'function']);
  await clean(tab);
  // What it forbids, tried.
  await tab.page.evaluate(() => {
    document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.owned = 1' }), Object.assign(new Image(), { src: 'http://127.0.0.1:1/x.png' }));
    fetch('http://127.0.0.1:1/').catch(() => {});
    try { new Worker('worker.js'); } catch { /* is seen as a violation */ }
  });
  await until('all are refused', async () => { const seen = (await tab.page.evaluate(() => window.violations)).map(text => text.split(' ')[0]).sort().join(); return seen === 'connect-src,img-src,script-src-elem,worker-src' || seen; });
  assert.equal(await tab.page.evaluate(() => window.owned), undefined);
  await tab.close();
});

test('in the background nothing is drawn, and all of it when the page is looked at again', async () => {
  const tab = await opened();
  await agrees(tab);
  await sleep(3500);
  await tab.page.evaluate(() => { window.isHidden = true; Object.defineProperty(document, 'hidden', { get: () => window.isHidden }); });
  const before_ = await tab.totals(), online = [...simulator.devices.values()].filter(one => one.online === 'online' && one.state.images[0].status === 'Done').slice(0, 40);
  for (const device of online) await simulator.publish(`${device.name}/online`, device.online = 'offline');
  await sleep(1500);
  assert.deepEqual(await tab.totals(), before_);
  await tab.page.evaluate(() => { window.isHidden = false; });
  await agrees(tab, 2000);
  for (const device of online) await simulator.publish(`${device.name}/online`, device.online = 'online');
  await agrees(tab);
  await tab.close();
});

test('an empty fleet, and a broker that is not there at the login', async () => {
  const empty = await Broker.start(), tab = await Tab.open(browser, empty.page);
  try {
    await tab.login();
    await tab.live(0);
    await tab.page.waitForSelector('#none', { visible: true });
    assert.equal(await tab.visible('#image'), false, 'there is nothing to choose');
    assert.deepEqual(await tab.totals(), { current: 0, pulling: 0, failed: 0, offline: 0, behind: 0, unknown: 0 });
    await tab.picture('empty');
    // The first image, none again, and the next: the curve is as wide as its place.
    const first = new Simulator({ url: empty.url, ...WRITER }), now = new Date().toISOString(), digest = `sha256:${'e'.repeat(64)}`;
    for (const size of [[1440, 900], [1920, 1080]]) {
      await first.publish('first/state', { v: 1, time: now, images: [{ id: 'first:1', status: 'Done', digest, latest: digest, checked: now }] });
      await until('its curve', () => tab.page.evaluate(() => document.getElementById('image').checkVisibility() && plot?.width > 300 && plot.width === document.getElementById('curve').clientWidth || [plot?.width, document.getElementById('curve').clientWidth]));
      await first.publish('first/state', '');
      await until('none', async () => !(await tab.visible('#image')));
      await tab.page.setViewport({ width: size[1], height: size[0] });
      await sleep(300);
    }
    await first.close();
    await clean(tab);
    await tab.page.click('#leave');
    await tab.page.waitForSelector('#user', { visible: true });
    await empty.end();
    await tab.login();
    await until('said', async () => (await tab.text('#link')) === 'no connection to the broker');
    await tab.picture('no-broker');
    await empty.run();
    await tab.live(0);
  } finally {
    await tab.close();
    await empty.close();
  }
});

test('a restart of the broker: said, then live again with the same sums', async () => {
  await simulator.publish('removed/state', { v: 1, device: 'removed', images: [] });
  const tab = await Tab.open(browser, broker.page);
  await tab.login();
  await tab.live(simulator.devices.size + 1);
  await broker.end('SIGTERM');
  await until('lost', async () => (await tab.text('#link')).startsWith('connection lost'));
  assert.ok((await tab.rows()).length > 10, 'what was last known stays');
  await tab.picture('connection-lost');
  // Removed while the page has no connection: by a broker that does not listen to pages.
  await broker.run({ pages: false });
  await simulator.connected();
  for (const topic of ['online', 'state']) await simulator.publish(`removed/${topic}`, '');
  await broker.end();
  await broker.run();
  const up = Date.now();
  await until('live', async () => (await tab.text('#link')).startsWith('live'));
  console.log(`live again ${Date.now() - up} ms after the broker`);
  await tab.live(simulator.devices.size);
  await simulator.connected();
  // What changes afterwards is seen: the subscriptions are there again.
  const device = [...simulator.devices.values()].find(one => one.online === 'online' && !one.pull);
  device.online = 'offline';
  await simulator.publish(`${device.name}/online`, 'offline');
  await agrees(tab);
  device.online = 'online';
  await simulator.publish(`${device.name}/online`, 'online');
  await agrees(tab);
  await tab.close();
});
