// What is seen, and what is done with it: drawn from the fleet's data. Text from devices is only ever set as textContent.
'use strict';
const $ = id => document.getElementById(id);
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
// A write costs a layout even where nothing changes.
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const NAMES = { current: 'Up to date', pulling: 'Pulling', failed: 'Failed', offline: 'Offline', behind: 'Behind', unknown: 'Nothing known' };
const COLUMNS = { cls: 'State', name: 'Device', site: 'Site', image: 'Image', digest: 'Version', percent: 'Progress', since: 'For', detail: 'Detail' };
const WATCHED = 45; // devices at once: with the two for all of them it is 47 of the 50 subscriptions that a broker may allow

const ALL = { cls: '', kind: '' }; // site and query are in their form
let worker = null, login = null;
const fleet = new Fleet(), filter = { ...ALL }, sort = { by: 'cls', up: true };
let rows = [], opened = '', cursor = '', dirty = false, drawn = 0;
// What all ages are measured from, and the progress that the drawer shows: row and drawer are of the same moment.
let moment = 0, still = null;

// --- Words and numbers.
// Rounded down, as `alm status` does.
const span = seconds => {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  return minutes < 2 ? `${Math.floor(seconds)} s` : hours < 1 ? `${minutes} min` : days < 1 ? `${hours} h ${minutes % 60} min` : `${days} day${days === 1 ? '' : 's'}`;
};
const age = at => (at ? span(Math.max(0, moment - at) / 1000) : '');
const ago = text => age(time(text));
// Sweden's form of a local time is that of ISO 8601: the same for each reader, with 24 hours.
const when = text => (time(text) ? `${new Date(text).toLocaleString('sv')} (${ago(text)} ago)` : `${text} (clock is wrong)`);
const bytes = n => (n === undefined ? '?' : n < 1e6 ? `${Math.floor(n / 1e3)} KB` : n < 1e9 ? `${Math.floor(n / 1e6)} MB` : `${(Math.floor(n / 1e8) / 10).toFixed(1)} GB`);
const short = id => id.split('/').pop();
const brief = digest => digest?.replace(/^sha256:/, '').slice(0, 12);
const count = n => n.toLocaleString('en');
const dots = (...parts) => parts.filter(Boolean).join(' · ');
const size = one => one.current !== undefined && `${bytes(one.current)} of ${bytes(one.total)}`;
const far = one => dots(one.percent !== undefined && `${Math.floor(one.percent)} %`, one.left && `${span(one.left)} left`, one.rate && `${bytes(one.rate)}/s`, size(one));
const bar = (percent = 0) => make('progress', { max: 100, value: percent, ariaLabel: 'Progress' });

// --- Totals, reasons, sites and curve.
// Buttons that filter, each with its count. They stay where they are, so that a press and the focus do not miss.
function choices(list, by, entries) {
  while (list.children.length < entries.length) {
    const onclick = ({ currentTarget: { value } }) => narrow({ ...ALL, [by]: value === filter[by] ? '' : value });
    list.append(make('button', { onclick }, make('b'), make('span'), make('small')));
  }
  [...list.children].forEach((button, at) => {
    const [value = '', ...texts] = entries[at] ?? [];
    Object.assign(button, { value, ariaPressed: value === filter[by], hidden: !value });
    texts.forEach((text, at) => put(button.children[at], text));
  });
}

function totals({ classes, kinds }) {
  const all = fleet.devices.size;
  put($('count'), `${count(all)} device${all === 1 ? '' : 's'}`);
  choices($('totals'), 'cls', Object.entries(NAMES).filter(([cls]) => cls !== 'unknown' || classes.get(cls))
    .map(([cls, name]) => [cls, count(classes.get(cls)), name, all ? `${(100 * classes.get(cls) / all).toFixed(1)}\u00a0%` : '']));
  choices($('kinds'), 'kind', kinds.map(([kind, n]) => [kind, count(n), kind.replaceAll('-', ' ')]));
  $('none').hidden = kinds.length;
}

function options(select, values, name) {
  if (values.length === select.length && values.every((value, at) => value === select[at].value)) return;
  const { value: chosen } = select;
  select.replaceChildren(...values.map(value => Object.assign(new Option(name(value), value, false, value === chosen), { title: value })));
}

let plot = null, chosen = false;
function curve({ images, behind }) {
  options($('image'), images.slice(0, 40), short);
  // Of most interest is the one that not everybody has.
  if (!chosen) $('image').value = images.find(id => behind.has(id)) ?? images[0];
  const id = $('image').value, goal = fleet.goals.get(id), data = fleet.rollout(id);
  put($('goal'), goal ? `${brief(goal)} · ${data[1].at(-1).toFixed(1)}\u00a0%` : id && 'no device found a version at its registry in the last hour');
  $('curve').hidden = !id;
  $('plot').hidden = !goal;
  if (!goal || !globalThis.uPlot) return;
  // Asked for at each drawing: the browser may turn dark.
  const color = (of, property) => () => getComputedStyle(document.querySelector(of))[property];
  const stroke = color('#scroll', 'borderTopColor'), axis = { stroke: color('#count', 'color'), grid: { stroke }, ticks: { stroke } };
  const line = (label, cls) => ({ label, stroke: color(`#totals [value=${cls}]`, 'borderLeftColor'), width: 2 });
  // For ticks so many seconds apart: the label, and what the first of a year or of a day has below it.
  const day = '\n{D} {MMM}', values = [[86400, '{D} {MMM}', '\n{YYYY}'], [60, '{HH}:{mm}', null, null, day], [1, '{HH}:{mm}:{ss}', null, null, day]];
  plot ??= new uPlot({ ...plotSize(), legend: { live: false }, scales: { y: { range: [0, 100] } },
    axes: [{ ...axis, values, space: 70 }, { ...axis, size: 56, values: (_, values) => values.map(value => `${value} %`) }],
    series: [{}, line('have it', 'current'), line('failing', 'failed')] }, [], $('plot'));
  plot.setData(data);
}
const plotSize = () => ({ width: $('curve').clientWidth, height: 155 });

// --- The table: as many rows as fit, moved to where the reader is.
const pool = [], rowHeight = () => (innerWidth > 700 ? 26 : 46); // as in page.css
for (const [by, name] of Object.entries(COLUMNS)) {
  const onclick = () => {
    Object.assign(sort, { by, up: sort.by !== by || !sort.up });
    draw();
  };
  $('head').append(make('div', { className: `c-${by}`, role: 'columnheader' }, make('button', { onclick }, name)));
}

function row() {
  const element = make('div', { role: 'row', onclick: () => open(cursor = element.device) }, ...Object.keys(COLUMNS).map(by => make('div', { className: `c-${by}`, role: 'gridcell', style: `grid-area: ${by}` })));
  element.children[5].append(bar());
  pool.push(element);
  $('space').append(element);
}

// `now` is the device's main image with its progress.
function state({ cls, online }, now) {
  return cls === 'pulling' ? now.text || NAMES.pulling : cls === 'failed' && online === 'offline' ? 'Failed, offline' : NAMES[cls];
}

function detail({ cls, main, time, digest, detail }, now) {
  if (cls === 'pulling') return far(now);
  if (cls === 'offline') return dots(main.status === 'Working' && 'lost while pulling', ago(time) && `state as of ${ago(time)} ago`);
  if (cls !== 'behind') return detail;
  const goal = fleet.goal(main);
  return dots(!digest && 'not here', !digest && main.text === 'Interrupted' && 'interrupted', detail || goal && goal !== digest && `goal: ${brief(goal)}`);
}

function paint() {
  const height = rowHeight(), box = $('scroll'), all = rows.length;
  put($('shown'), !fleet.devices.size ? 'No device has reported yet.' : !all ? 'No device matches.' : all < fleet.devices.size ? `${count(all)} shown` : '');
  $('all').hidden = !Object.values(filter).some(Boolean);
  $('space').style.height = `${all * height}px`;
  $('table').ariaRowCount = all + 1;
  const first = Math.max(0, Math.min(Math.floor(box.scrollTop / height) - 3, all)), n = Math.min(all - first, Math.ceil(box.clientHeight / height) + 6);
  while (pool.length < n) row();
  const watch = opened ? [opened] : [];
  $('table').ariaActiveDescendantElement = null;
  pool.forEach((element, at) => {
    element.hidden = at >= n;
    if (element.hidden) return;
    const device = rows[first + at], { name, cls, main } = device, isPulling = cls === 'pulling', now = fleet.latest(name === opened ? { live: still } : device, main);
    Object.assign(element, { device: name, className: `row ${cls}`, ariaRowIndex: first + at + 2, ariaSelected: name === cursor });
    element.style.transform = `translateY(${(first + at) * height}px)`;
    if (name === cursor) $('table').ariaActiveDescendantElement = element;
    const texts = [state(device, now), name, device.site, short(device.image), brief(device.digest), null, age(-device.since), detail(device, now)];
    texts.forEach((text, at) => { if (text !== null) put(element.children[at], text); });
    element.children[3].title = device.image;
    Object.assign(element.children[5].firstChild, { value: now.percent ?? 0, hidden: !isPulling });
    if (isPulling && name !== opened) watch.push(name);
  });
  worker?.postMessage({ watch: watch.slice(0, WATCHED) });
}

// --- The drawer of one device.
function open(name) {
  const wasOpen = opened;
  opened = name;
  moment = Date.now();
  drawer();
  paint();
  if (!wasOpen) $('device').focus(); else if (!name) $('table').focus();
}

// The labels of the fields of a device, an image or a container; a field without a value is not shown.
const FACTS = { online: ['Connection'], site: ['Site'], time: ['Last report', when], clock: ['Clock'], left_out: ['Images left out'], name: ['Name'], text: ['State'],
  far: ['So far'], details: ['Why'], hint: ['What to do'], failing_since: ['Failing since', when], attempts: ['Runs'], image: ['Image'], digest: ['Version here'],
  latest: ['In the registry'], since: ['Since', when], pulled: ['Pulled', when], bytes: ['Downloaded', bytes], seconds: ['Took', span], checked: ['Last check', when] };
const facts = of => make('dl', {}, ...Object.entries(FACTS).filter(([name]) => of[name]).flatMap(([name, [label, format = String]]) => [
  make('dt', {}, label), make('dd', { className: name }, format(of[name]))]));

function section(device, image) {
  const one = fleet.latest(device, image), isWorking = one.status === 'Working' && !one.lost;
  const text = one.lost ? LOST : isWorking && one.attempt > 1 ? `${one.text}, attempt ${one.attempt}`
    : one.text === 'Newer image' && !one.digest ? 'Not here' : one.text ?? one.status;
  return make('section', {}, make('h3', {}, one.id), isWorking ? bar(one.percent) : '',
    facts({ ...one, time: '', since: '', text, far: isWorking && far(one), latest: one.latest !== one.digest && one.latest, seconds: Math.round(one.seconds) }),
    make('table', {}, ...(one.layers ?? []).map(layer => make('tr', {}, ...[layer.id ?? '', layer.text ?? '', bar(layer.percent), size(layer) || ''].map(cell => make('td', {}, cell))))));
}

function drawer() {
  const box = $('device'), device = fleet.devices.get(opened), { scrollTop } = box;
  box.hidden = !device;
  if (!device) { opened = ''; return; }
  fleet.judge(device);
  still = device.live;
  const { online, site, time, clock, left_out, images, containers } = device;
  $('facts').replaceChildren(make('h2', {}, opened), facts({ online: online || 'comes only to report (--once)', site, time, clock, left_out }),
    ...images.toSorted((a, b) => !isFailed(a) - !isFailed(b)).map(image => section(device, image)), make('h3', {}, containers.length ? 'What runs' : ''),
    ...containers.map(one => facts({ ...one, text: one.status })));
  box.scrollTop = scrollTop;
}

// --- All of it.
function draw() {
  const tally = fleet.tally();
  [dirty, drawn, moment] = [false, performance.now(), Date.now()];
  for (const head of $('head').children) head.ariaSort = head.className !== `c-${sort.by}` ? 'none' : sort.up ? 'ascending' : 'descending';
  totals(tally);
  options($('site'), ['', ...tally.sites], site => site || 'All sites');
  Object.assign(filter, { site: $('site').value, query: $('query').value });
  curve(tally);
  rows = fleet.rows(filter, sort);
  if (opened) drawer();
  paint();
}

function narrow(change) {
  Object.assign(filter, change);
  $('scroll').scrollTop = 0;
  draw();
}

const LINKS = { up: 'live · ', down: 'connection lost: showing what was last known', refused: 'login refused', none: 'no connection to the broker' };
function onWorkerMessage({ data }) {
  const { link } = data;
  if (link) {
    $('link').className = link;
    put($('link'), LINKS[link === 'down' && $('leave').hidden ? 'none' : link] + (data.host ?? ''));
    if (link === 'up') { fleet.connection++; sessionStorage.setItem('login', JSON.stringify(login)); }
    if (link === 'refused') ask('The broker refused this user or password.');
    return;
  }
  for (const [name, change] of data.changed) fleet.apply(name, change);
  for (const [name, live] of data.live) if (fleet.devices.has(name)) fleet.devices.get(name).live = live;
  if (data.settled) fleet.sweep();
  show(true);
  // The states that arrive when the page opens are shown at once.
  if (data.settling) draw(); else dirty = true;
}

// --- In and out.
const files = Promise.all(['settings.json', 'mqtt.min.js', 'worker.js'].map(async file => (await fetch(file)).text()));

function show(isIn) {
  $('login').hidden = isIn;
  document.querySelector('main').hidden = $('leave').hidden = !isIn;
}

function ask(why) {
  sessionStorage.removeItem('login');
  open('');
  show(false);
  put($('refused'), why);
  // Who was refused most likely mistyped the password, which is gone.
  $($('user').value ? 'password' : 'user').focus();
}

async function connect() {
  const [settings, ...parts] = await files, { brokers = ['/'], root = 'fleet', version = 5 } = JSON.parse(settings);
  // A worker's script needs a Content-Type, which mosquitto's http_dir does not send; so the script is made here.
  worker ??= new Worker(URL.createObjectURL(new Blob([parts.join('\n;\n')], { type: 'text/javascript' })));
  worker.onmessage = onWorkerMessage;
  put($('link'), 'connecting…');
  worker.postMessage({ connect: { root, version, ...login, brokers: brokers.map(broker => new URL(broker, location.href).href.replace(/^http/, 'ws')) } });
}

$('login').onsubmit = event => {
  event.preventDefault();
  login = { user: $('user').value, password: $('password').value };
  $('password').value = '';
  put($('refused'), '');
  connect();
};
$('close').onclick = () => open('');
$('leave').onclick = () => { sessionStorage.removeItem('login'); location.reload(); };
$('filter').onsubmit = event => event.preventDefault();
$('all').onclick = () => { $('filter').reset(); narrow(ALL); };
$('query').oninput = $('site').onchange = () => narrow({});
$('image').onchange = () => { chosen = true; draw(); };
$('scroll').onscroll = paint;
// A drawer that opens takes room too.
new ResizeObserver(() => { plot?.setSize(plotSize()); paint(); }).observe($('scroll'));

$('table').onkeydown = event => {
  const box = $('scroll'), height = rowHeight(), page = Math.max(1, Math.floor(box.clientHeight / height) - 1), at = rows.findIndex(device => device.name === cursor);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1, Enter: at }[event.key];
  if (to === undefined || !rows.length || event.target.closest('#head')) return;
  event.preventDefault();
  const next = Math.min(rows.length - 1, Math.max(0, to));
  cursor = rows[next].name;
  box.scrollTop = Math.min(next * height, Math.max(box.scrollTop, (next + 1) * height - box.clientHeight));
  if (opened || event.key === 'Enter') open(cursor); else paint();
};
onkeydown = event => { if (event.key === 'Escape' && opened) open(''); };

// Sums once a second, four times as often what moves on the screen; and ages, where nothing else is new.
setInterval(() => {
  if (document.hidden || !$('login').hidden) return;
  if (performance.now() - drawn > (dirty ? 1000 : 15_000)) draw(); else if (dirty) paint();
}, 250);
// The curve comes last: nothing waits for these two files.
document.head.append(make('link', { rel: 'stylesheet', href: 'uPlot.min.css' }), make('script', { src: 'uPlot.iife.min.js', onload() { dirty = true; } }));
login = JSON.parse(sessionStorage.getItem('login'));
if (login) connect(); else ask('');
