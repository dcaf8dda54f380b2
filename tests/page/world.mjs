// What the tests of the page run against: Debian's mosquitto that serves the page and its WebSocket, and Debian's Chromium.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const require = createRequire(new URL('../../deploy/fleet/package.json', import.meta.url));
const puppeteer = require('puppeteer-core');
const top = new URL('../..', import.meta.url).pathname;
export const PICTURES = process.env.PICTURES ?? path.join(top, 'target/page');
export const VIEWER = { user: 'page', password: 'see ß "it' }, WRITER = { user: 'sim', password: 'writes' };
export const sleep = ms => new Promise(done => setTimeout(done, ms));

export async function until(what, ask, ms = 15_000) {
  let last;
  for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) {
    last = await ask();
    if (last === true) return;
  }
  throw new Error(`not within ${ms} ms: ${what}: ${JSON.stringify(last)}`);
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

const opens = port => new Promise(done => {
  const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); done(true); }).on('error', () => done(false));
});

export class Broker {
  static async start() {
    const broker = new Broker();
    broker.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'alm-page-'));
    [broker.port, broker.web] = [await freePort(), await freePort()];
    const site = path.join(broker.dir, 'site'), file = name => path.join(broker.dir, name);
    execFileSync(path.join(top, 'deploy/fleet/site.sh'), [site]);
    for (const { user, password } of [VIEWER, WRITER]) {
      execFileSync('mosquitto_passwd', [...(fs.existsSync(file('passwd')) ? [] : ['-c']), '-b', file('passwd'), user, password]);
    }
    fs.writeFileSync(file('acl'), `user ${VIEWER.user}\ntopic read fleet/#\nuser ${WRITER.user}\ntopic readwrite fleet/#\n`);
    fs.writeFileSync(file('conf-devices'), `persistence true\npersistence_location ${broker.dir}/\nautosave_interval 60
max_queued_messages 60000\nmax_packet_size 65536\nallow_anonymous false\npassword_file ${file('passwd')}\nacl_file ${file('acl')}
log_dest file ${file('log')}\nuser root\nlistener ${broker.port} 127.0.0.1\n`);
    fs.writeFileSync(file('conf'), `${fs.readFileSync(file('conf-devices'), 'utf8')}listener ${broker.web}\nprotocol websockets\nhttp_dir ${site}\n`);
    await broker.run();
    return broker;
  }

  get url() { return `mqtt://127.0.0.1:${this.port}`; }
  get page() { return `http://127.0.0.1:${this.web}/index.html`; }

  async run({ pages = true } = {}) {
    this.process = spawn('mosquitto', ['-c', path.join(this.dir, pages ? 'conf' : 'conf-devices')], { stdio: 'ignore' });
    await until('mosquitto listens', async () => await opens(this.port) && (!pages || await opens(this.web)));
  }

  async end(signal = 'SIGTERM') {
    this.process.kill(signal);
    await once(this.process, 'exit');
  }

  async close() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.end();
    fs.rmSync(this.dir, { recursive: true });
  }
}

export const launch = (...more) => puppeteer.launch({ executablePath: '/usr/bin/chromium', headless: true,
  // Else the browser reports every frame of a WebSocket to the driver, which takes it longer than all that the page does with them.
  networkEnabled: false,
  // As root, and with the small /dev/shm of a container.
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--ignore-certificate-errors', ...more] });

// A tab of its own: session and storage of another are not seen.
export class Tab {
  static async open(browser, url, { width = 1440, height = 900, scheme = 'light' } = {}) {
    const tab = new Tab();
    tab.context = await browser.createBrowserContext();
    tab.page = await tab.context.newPage();
    tab.errors = [];
    tab.page.on('pageerror', error => tab.errors.push(String(error.message)));
    tab.page.on('console', message => { if (['error', 'warn'].includes(message.type())) tab.errors.push(message.text()); });
    await tab.page.evaluateOnNewDocument(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', event => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    await tab.page.setViewport({ width, height });
    await tab.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await tab.page.goto(url);
    return tab;
  }

  close() { return this.context.close(); }
  text(selector) { return this.page.$eval(selector, element => element.textContent); }
  visible(selector) { return this.page.$eval(selector, element => element.checkVisibility()); }
  wait(what, ask, ms) { return until(what, ask, ms); }

  async login({ user, password } = VIEWER) {
    await this.page.waitForSelector('#user', { visible: true });
    await this.page.$eval('#user', element => element.value = '');
    await this.page.type('#user', user);
    await this.page.type('#password', password);
    await this.page.keyboard.press('Enter');
  }

  async live(devices, ms = 30_000) {
    await until(`the page is live with ${devices} devices`, async () => {
      const [link, count] = [await this.text('#link'), await this.text('#count')];
      return link.startsWith('live') && count.replaceAll(',', '').startsWith(`${devices} device`) || `${link} / ${count}`;
    }, ms);
  }

  // The numbers of the tiles.
  async totals() {
    const pairs = await this.page.$$eval('#totals button:not([hidden])', tiles => tiles.map(tile => [tile.value, Number(tile.querySelector('b').textContent.replaceAll(',', ''))]));
    // The tile of those of which nothing is known comes only with the first of them.
    return { ...Object.fromEntries(pairs), unknown: Object.fromEntries(pairs).unknown ?? 0 };
  }

  kinds() {
    return this.page.$$eval('#kinds button:not([hidden])', buttons => Object.fromEntries(buttons.map(button => [button.value, Number(button.querySelector('b').textContent.replaceAll(',', ''))])));
  }

  // The rows as they are seen, top to bottom.
  rows() {
    return this.page.$$eval('#space .row', rows => rows.filter(row => !row.hidden).sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
      .map(row => Object.fromEntries([...row.children].map(cell => [cell.className.slice(2), cell.textContent]))));
  }

  async picture(name) {
    fs.mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
  }
}

// The class that the page has to give a device.
export function classOf(simulator, { online, state }) {
  if (state.images.some(image => image.status === 'Error')) return 'failed';
  if (online === 'offline') return 'offline';
  if (state.images.some(image => image.status === 'Working')) return 'pulling';
  return state.images.some(image => image.digest !== simulator.goal(image.id)) ? 'behind' : 'current';
}

// What the page has to show, counted from what the simulator sent last.
export function expected(simulator) {
  const totals = { current: 0, pulling: 0, failed: 0, offline: 0, behind: 0, unknown: 0 }, kinds = {};
  for (const device of simulator.devices.values()) {
    totals[classOf(simulator, device)]++;
    const failed = device.state.images.find(image => image.status === 'Error');
    if (failed) kinds[failed.kind] = (kinds[failed.kind] ?? 0) + 1;
  }
  return { totals, kinds };
}
