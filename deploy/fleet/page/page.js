// What is seen: totals, curve, reasons, table and drawer, drawn from the model once a second or when something is pressed. Text from
// devices is only ever set as textContent.
'use strict';
const $ = id => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
// A write costs a layout even where nothing changes.
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const NAMES = { current: 'Up to date', pulling: 'Pulling', failed: 'Failed', offline: 'Offline', behind: 'Behind', unknown: 'Nothing known' };
const KINDS = { 'disk-full': 'Disk full', login: 'Login refused', 'not-found': 'Image not found', unreachable: 'Registry unreachable',
  'rate-limit': 'Rate limit', stalled: 'No progress', certificate: 'Certificate not trusted', clock: 'Clock is wrong', proxy: 'Proxy',
  store: 'Docker’s store is damaged', 'socket-forbidden': 'Docker socket forbidden', platform: 'No image for this platform',
  'server-error': 'Registry has a fault', 'engine-gone': 'Docker stopped', container: 'Container does not run',
  'rolled-back': 'New version rolled back', other: 'Other' };
const COLUMNS = [['cls', 'State'], ['name', 'Device'], ['site', 'Site'], ['image', 'Image'], ['digest', 'Version'], ['percent', 'Progress'],
  ['since', 'For'], ['detail', 'Detail']];
const WATCHED = 45; // devices at once: with the two for all of them it is 47 of the 50 subscriptions that a broker may allow

const model = new Fleet.Model();
const filter = { cls: '', kind: '', site: '', query: '' }, sort = { by: 'cls', up: true };
let rows = [], image = '', chosen = false, opened = null, cursor = '', worker = null, link = 'down', dirty = false, tallied = 0, counted = 0;

// --- Words and numbers.
const ago = (text, now) => {
  const at = Fleet.time(text, now);
  if (Number.isNaN(at)) return '';
  const seconds = Math.max(0, (now - at) / 1000);
  return seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min`
    : seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
};
const when = (text, now) => (Number.isNaN(Fleet.time(text, now)) ? (text ? `${text} (clock is wrong)` : '') : `${new Date(text).toLocaleString()} (${ago(text, now)} ago)`);
const bytes = n => (n === undefined ? '?' : n < 1e6 ? `${Math.floor(n / 1e3)} KB` : n < 1e9 ? `${Math.floor(n / 1e6)} MB` : `${(Math.floor(n / 1e8) / 10).toFixed(1)} GB`);
const brief = digest => (digest ?? '').replace(/^sha256:/, '').slice(0, 12);
const count = n => n.toLocaleString('en');
const far = one => [one.percent === undefined ? '' : `${Math.floor(one.percent)} %`, one.current === undefined ? '' : `${bytes(one.current)} of ${bytes(one.total)}`,
  one.rate ? `${bytes(one.rate)}/s` : '', one.left ? `${one.left < 90 ? `${one.left} s` : `${Math.ceil(one.left / 60)} min`} left` : ''].filter(Boolean).join(' · ');
const clamp = percent => Math.min(100, Math.max(0, percent ?? 0));

// --- Totals, reasons, sites, curve: all from one tally.
function totals(tally) {
  for (const cls of ['current', 'pulling', 'failed', 'offline', 'behind', 'unknown']) {
    let tile = $(`total-${cls}`);
    if (!tile) {
      tile = make('button', { id: `total-${cls}`, className: cls, type: 'button' }, make('b'), make('span', { textContent: NAMES[cls] }), make('small'));
      tile.onclick = () => narrow({ cls: filter.cls === cls ? '' : cls, kind: '' });
      $('totals').append(tile);
    }
    const n = tally.classes.get(cls);
    put(tile.children[0], count(n));
    put(tile.children[2], tally.all ? `${(100 * n / tally.all).toFixed(1)} %` : '');
    tile.setAttribute('aria-pressed', filter.cls === cls);
    tile.hidden = cls === 'unknown' && n === 0 && filter.cls !== cls;
  }
  put($('count'), `${count(tally.all)} ${tally.all === 1 ? 'device' : 'devices'}`);
}

function kinds(tally) {
  const list = $('kinds'), focused = document.activeElement?.dataset?.kind;
  list.replaceChildren(...tally.kinds.map(([kind, n]) => {
    const button = make('button', { type: 'button' }, make('b', { textContent: count(n) }), make('span', { textContent: KINDS[kind] ?? kind }));
    button.dataset.kind = kind;
    button.setAttribute('aria-pressed', filter.kind === kind);
    button.onclick = () => narrow(filter.kind === kind ? { kind: '', cls: '' } : { kind, cls: 'failed' });
    return make('li', {}, button);
  }));
  if (!tally.kinds.length) list.append(make('li', { textContent: 'Nothing fails.' }));
  if (focused) [...list.querySelectorAll('button')].find(button => button.dataset.kind === focused)?.focus();
}

function options(select, wanted, first) {
  const have = [...select.options].map(option => option.value).join('\n');
  if (have === [...(first ? [''] : []), ...wanted].join('\n')) return;
  const value = select.value;
  select.replaceChildren(...(first ? [make('option', { value: '', textContent: first })] : []),
    ...wanted.map(text => make('option', { value: text, textContent: text })));
  select.value = wanted.includes(value) ? value : first ? '' : wanted[0] ?? '';
}

// The image of the curve; true where it is another now. Of most interest is the one that not everybody has.
function choose(tally) {
  const names = tally.images.slice(0, 40).map(([id]) => id), before = image;
  options($('image'), names);
  if (!chosen) $('image').value = names.find(id => [...model.devices.values()].some(device => device.images.some(one => one.id === id && model.isBehind(one)))) ?? names[0] ?? '';
  image = $('image').value;
  return image !== before;
}

let plot = null, plotted = '';
function curve(tally) {
  const goal = model.goals.get(image);
  put($('goal'), goal ? brief(goal) : 'no device has asked its registry in the last hour');
  const box = $('plot'), data = tally.curve, style = getComputedStyle(document.documentElement);
  const look = `${box.clientWidth} ${style.getPropertyValue('--text')}`;
  if (!data) { plot?.destroy(); plot = null; return; }
  if (plot && look === plotted) return plot.setData(data);
  plot?.destroy();
  plotted = look;
  const color = name => style.getPropertyValue(name).trim();
  const axis = { stroke: color('--text'), grid: { stroke: color('--line') }, ticks: { stroke: color('--line') } };
  plot = new uPlot({ width: box.clientWidth, height: 140, legend: { live: false }, scales: { y: { range: [0, 100] } },
    axes: [{ ...axis, size: 30 }, { ...axis, size: 56, values: (_, values) => values.map(value => `${value} %`) }],
    series: [{}, { label: 'have it', stroke: color('--current'), width: 2 }, { label: 'failing', stroke: color('--failed'), width: 2 }] }, data, box);
}

// --- The table: as many elements as fit, moved to where the reader is.
const pool = [], rowHeight = () => (matchMedia('(max-width: 700px)').matches ? 46 : 26);
function head() {
  $('head').replaceChildren(...COLUMNS.map(([by, name]) => {
    const button = make('button', { type: 'button', textContent: name });
    button.onclick = () => { sort.up = sort.by === by ? !sort.up : true; sort.by = by; head(); draw(); };
    const cell = make('div', { className: `c-${by}` }, button);
    cell.setAttribute('role', 'columnheader');
    cell.setAttribute('aria-sort', sort.by === by ? (sort.up ? 'ascending' : 'descending') : 'none');
    return cell;
  }));
}

function row() {
  const cells = COLUMNS.map(([by]) => make('div', { className: `c-${by}` }));
  cells.forEach(cell => cell.setAttribute('role', 'gridcell'));
  const bar = make('div', { className: 'bar' }, make('i'));
  cells[5].append(bar);
  const element = make('div', { id: `row-${pool.length}` }, ...cells);
  element.setAttribute('role', 'row');
  element.onclick = () => { cursor = element.device; open(cursor); };
  pool.push(element);
  $('space').append(element);
}

function paint() {
  const height = rowHeight(), box = $('scroll'), now = Date.now();
  put($('shown'), rows.length === model.devices.size ? '' : `${count(rows.length)} shown`);
  $('all').hidden = !(filter.cls || filter.kind || filter.site || filter.query);
  $('space').style.height = `${rows.length * height}px`;
  $('table').setAttribute('aria-rowcount', rows.length + 1);
  const first = Math.max(0, Math.min(Math.floor(box.scrollTop / height) - 3, rows.length)), n = Math.min(rows.length - first, Math.ceil(box.clientHeight / height) + 6);
  while (pool.length < n) row();
  const watch = [];
  let active = '';
  pool.forEach((element, at) => {
    element.hidden = at >= n;
    if (at >= n) { element.device = null; return; }
    const device = rows[first + at], main = device.main ?? {}, cells = element.children, isPulling = device.cls === 'pulling';
    const far_ = isPulling && device.live?.id === main.id ? { ...main, ...device.live } : main;
    element.style.transform = `translateY(${(first + at) * height}px)`;
    element.className = `row ${device.cls}`;
    element.device = device.name;
    element.setAttribute('aria-rowindex', first + at + 2);
    element.setAttribute('aria-selected', device.name === cursor);
    if (device.name === cursor) active = element.id;
    put(cells[0], isPulling ? far_.text || 'Pulling' : device.cls === 'failed' && device.online === 'offline' ? 'Failed, offline' : NAMES[device.cls]);
    put(cells[1], device.name);
    put(cells[2], device.site);
    put(cells[3], (main.id ?? '').split('/').pop());
    cells[3].title = main.id ?? '';
    put(cells[4], brief(main.digest));
    cells[5].firstChild.hidden = !isPulling;
    if (isPulling) cells[5].firstChild.firstChild.style.width = `${clamp(far_.percent)}%`;
    put(cells[6], ago(main.failing_since ?? main.since, now));
    const last = ago(device.time, now);
    put(cells[7], device.why || (isPulling ? far(far_) : device.cls === 'offline' ? (device.wasPulling ? 'lost while pulling' : last && `last word ${last} ago`) : main.status === 'Warning' ? main.details || main.text : main.details || ''));
    if (isPulling) watch.push(device.name);
  });
  active ? box.setAttribute('aria-activedescendant', active) : box.removeAttribute('aria-activedescendant');
  if (opened !== null) watch.unshift(opened);
  follow([...new Set(watch)].slice(0, WATCHED));
}

let followed = '';
function follow(names) {
  const all = names.join('\n');
  if (all === followed || link !== 'up') return;
  followed = all;
  worker.postMessage({ watch: names });
}

function narrow(change) {
  Object.assign(filter, change);
  $('scroll').scrollTop = 0;
  draw();
}

// --- The drawer of one device.
function open(name) {
  const wasClosed = opened === null;
  opened = name;
  drawer();
  paint();
  if (name === null) $('scroll').focus();
  else if (wasClosed) $('device').focus();
}

const fact = (list, name, value, className = '') => {
  if (value === undefined || value === '' || value === null) return;
  list.append(make('dt', { textContent: name }), make('dd', { textContent: value, className }));
};
const bar = one => {
  const inner = make('i');
  inner.style.width = `${clamp(one.percent)}%`;
  const outer = make('div', { className: 'bar' }, inner);
  outer.setAttribute('role', 'progressbar');
  outer.setAttribute('aria-valuenow', Math.floor(clamp(one.percent)));
  return outer;
};

function drawer() {
  const box = $('device'), device = opened === null ? null : model.devices.get(opened), now = Date.now();
  if (!device) { box.hidden = true; opened = null; return; }
  const hadFocus = box.contains(document.activeElement) && document.activeElement !== box;
  const close = make('button', { type: 'button', className: 'close', textContent: '× Close' });
  close.onclick = () => open(null);
  const about = make('dl');
  fact(about, 'Connection', device.online ?? 'comes only to report (--once)');
  fact(about, 'Site', device.site);
  fact(about, 'Last word', when(device.time, now));
  if (device.clock) fact(about, 'Clock', 'is wrong on this device: its times cannot be believed');
  const parts = [close, make('h2', { textContent: device.name }), about];
  for (const one of device.images) {
    const isLive = one.status === 'Working' && device.live?.id === one.id, shown = isLive ? { ...one, ...device.live } : one;
    const facts = make('dl'), section = make('section', { className: one.status === 'Error' ? 'failed' : one.status === 'Working' ? 'pulling' : '' }, make('h3', { textContent: one.id }));
    fact(facts, 'State', [shown.text ?? one.status, one.status === 'Working' && one.attempt > 1 ? `try ${one.attempt}` : ''].filter(Boolean).join(', '));
    if (one.status === 'Working') { section.append(bar(shown)); fact(facts, 'So far', far(shown)); }
    fact(facts, 'Why', one.details, 'why');
    fact(facts, 'What to do', one.hint, 'hint');
    fact(facts, 'Failing since', one.failing_since && `${when(one.failing_since, now)}${one.attempts ? `, ${one.attempts} ${one.attempts === 1 ? 'try' : 'tries'}` : ''}`);
    fact(facts, 'Version here', one.digest);
    fact(facts, 'In the registry', one.latest && one.latest !== one.digest ? one.latest : '');
    fact(facts, 'Pulled', [when(one.pulled, now), one.bytes ? bytes(one.bytes) : '', one.seconds ? `in ${Math.round(one.seconds)} s` : ''].filter(Boolean).join(', '));
    fact(facts, 'Last looked', when(one.checked, now));
    section.append(facts);
    if (isLive && device.live.layers?.length) {
      section.append(make('table', {}, make('tbody', {}, ...device.live.layers.map(layer => make('tr', {}, make('td', {}, make('code', { textContent: layer.id ?? '' })),
        make('td', { textContent: layer.text ?? '' }), make('td', {}, bar(layer)), make('td', { className: 'number', textContent: layer.current === undefined ? '' : `${bytes(layer.current)} of ${bytes(layer.total)}` }))))));
    }
    parts.push(section);
  }
  if (device.containers.length) {
    parts.push(make('h3', { textContent: 'What runs' }));
    for (const one of device.containers) {
      const facts = make('dl');
      fact(facts, one.name ?? '?', [one.status, one.image, brief(one.digest), one.since && when(one.since, now)].filter(Boolean).join(' · '), one.status === 'Running' ? '' : 'why');
      fact(facts, '', one.details);
      parts.push(facts);
    }
  }
  const top = box.scrollTop;
  box.replaceChildren(...parts);
  box.hidden = false;
  box.scrollTop = top;
  if (hadFocus) close.focus();
}

// --- All of it.
function draw() {
  let tally = model.tally(Date.now(), image);
  if (choose(tally)) tally = model.tally(Date.now(), image);
  tallied = performance.now();
  counted = tally.all;
  dirty = false;
  totals(tally);
  kinds(tally);
  options($('site'), tally.sites, 'All sites');
  curve(tally);
  rows = model.rows(filter, sort);
  paint();
  if (opened !== null) drawer();
}

function heard({ data }) {
  if (data.link) {
    link = data.link;
    followed = '';
    $('link').className = link;
    put($('link'), link === 'up' ? `live · ${data.host}` : link === 'refused' ? 'login refused' : 'connection lost: showing what was last known');
    if (link === 'refused') { sessionStorage.removeItem('login'); ask('The broker refused this user or password.'); }
    if (link === 'up') { sessionStorage.setItem('login', JSON.stringify(login)); enter(); }
    dirty = true;
    return;
  }
  for (const [name, change] of data.changed) model.apply(name, change);
  for (const [name, live] of data.live) if (model.devices.has(name)) model.devices.get(name).live = live;
  dirty = true;
}

// --- In and out.
let login = null, settings = { brokers: [], root: 'fleet', version: 5 };
function ask(why) {
  worker?.postMessage({ disconnect: true });
  document.querySelector('main').hidden = $('leave').hidden = true;
  open(null);
  $('login').hidden = false;
  put($('refused'), why);
  $('user').focus();
}
function enter() {
  $('login').hidden = true;
  document.querySelector('main').hidden = $('leave').hidden = false;
  draw();
}
async function connect() {
  if (!worker) {
    // mosquitto's http_dir sends no Content-Type, and a worker's script wants one: put together here.
    const parts = await Promise.all(['mqtt.min.js', 'worker.js'].map(file => fetch(file).then(answer => answer.text())));
    worker = new Worker(URL.createObjectURL(new Blob([parts.join('\n;\n')], { type: 'text/javascript' })));
    worker.onmessage = heard;
  }
  put($('link'), 'connecting…');
  worker.postMessage({ connect: { ...settings, ...login } });
}

async function start() {
  // Beside the page, where the broker is not the one that serves it: {"brokers": ["wss://host:port/path", "mqtt"], "root": "fleet/eu", "version": 4}
  const found = await fetch('settings.json').then(answer => (answer.ok ? answer.json() : {})).catch(() => ({}));
  Object.assign(settings, found);
  settings.brokers = (settings.brokers.length ? settings.brokers : ['/']).map(broker => new URL(broker, location.href).href.replace(/^http/, 'ws'));
  login = JSON.parse(sessionStorage.getItem('login') ?? 'null');
  login ? connect() : ask('');
}

$('login').onsubmit = event => {
  event.preventDefault();
  login = { user: $('user').value, password: $('password').value };
  $('password').value = '';
  put($('refused'), '');
  connect();
};
$('leave').onclick = () => { sessionStorage.removeItem('login'); location.reload(); };
$('filter').onsubmit = event => event.preventDefault();
$('filter').onreset = () => narrow({ cls: '', kind: '', site: '', query: '' });
$('query').oninput = () => narrow({ query: $('query').value });
$('site').onchange = () => narrow({ site: $('site').value });
$('image').onchange = () => { image = $('image').value; chosen = true; draw(); };
$('scroll').onscroll = () => paint();
addEventListener('resize', () => dirty = true);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => dirty = true);

$('scroll').onkeydown = event => {
  const height = rowHeight(), page = Math.max(1, Math.floor($('scroll').clientHeight / height) - 1), at = rows.findIndex(device => device.name === cursor);
  const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 }[event.key];
  if (event.key === 'Enter' && at >= 0) { event.preventDefault(); return open(cursor); }
  if (to === undefined || !rows.length) return;
  event.preventDefault();
  const next = Math.min(rows.length - 1, Math.max(0, to)), box = $('scroll');
  cursor = rows[next].name;
  if (next * height < box.scrollTop) box.scrollTop = next * height;
  if ((next + 1) * height > box.scrollTop + box.clientHeight) box.scrollTop = (next + 1) * height - box.clientHeight;
  paint();
  if (opened !== null) open(cursor);
};
addEventListener('keydown', event => { if (event.key === 'Escape' && opened !== null) open(null); });

head();
// Sums once a second, four times as often what moves on the screen.
setInterval(() => {
  if (!dirty || document.hidden || $('login').hidden === false) return;
  // While the fleet is still coming in, the sums go with it.
  if (performance.now() - tallied >= (model.devices.size === counted ? 1000 : 250)) return draw();
  if (document.querySelector('main').hidden === false) paint();
}, 250);
start();
