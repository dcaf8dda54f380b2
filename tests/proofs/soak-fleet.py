#!/usr/bin/env python3
"""A fleet for a long time: agents, broker, monitor and page, while pulls run and broker and network fail.

    tests/proofs/soak-fleet.py [SECONDS]    3600 unless told
    tests/proofs/soak-fleet.py short        40 agents, 60 seconds, and one restart of the broker

200 real agents on one mosquitto as alm-fleet configures it, behind a network that can be cut. The states are written by the
program itself: four devices pull from a private engine, the others replay recordings of engines. The first device's monitor is on
a console of the kernel (/dev/ttyNUMBER, CONSOLE=58), and the fleet's page is open in Chromium. The broker is killed and emptied, or
ended and started, and the network is cut, in turn. Sampled are memory, open files and sockets of all of them, whenever all are
connected. Flat is a row whose straight line rises by no more than 5 % or by 16 KB, four pages, a process (memory; the page's heap 5 % or 1 MB),
and whose least is in its second half no higher than in its first (files, sockets), both without the first quarter: pages and buffers are
touched for the first time there. At the end each device's state files, the retained message of the broker and the page are compared
field by field, and the rows that the page shows with them.

WRITE=1 puts what a whole hour found into README.md here. Needs root, for the engine. Installs what is missing from Debian and npm. PULL and AGENT name programs that are built.
"""

import glob, json, os, queue, random, shutil, signal, statistics, subprocess, sys, tempfile, threading, time

sys.dont_write_bytecode = True
import broker as lab
import section

sys.path.insert(0, f"{lab.ROOT}/tests/lab")
from link import Link

SHORT = sys.argv[1:] == ["short"]
DEVICES, PULLERS = 40 if SHORT else 200, 4
TAGS = ["three:latest", "three:v2", "eight:latest", "tiny:latest", "three:missing"]
PAGE_KNOWS = set("id status text time since digest latest pulled checked kind details hint failing_since current total percent attempt attempts bytes seconds lost".split())
# A change of only these fields is published at most every 6 hours (deploy/fleet/README.md).
LAZY = {"time", "checked"}
lab.TOPIC = "fleet"
must, until = lab.must, lab.until


class Page:
    """tests/page/soak.mjs: one line of input for each request, one line of output for each answer."""

    def __init__(self, port):
        self.process = lab.begin(["node", f"{lab.ROOT}/tests/page/soak.mjs", f"https://localhost:{port}/index.html", "viewer", "look"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = json.loads(self.process.stdout.readline())["pid"]

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def tree(pid):
    """A process and all its descendants."""
    parents = {}
    for status in glob.glob("/proc/[0-9]*/stat"):
        try:
            own, rest = open(status).read().rsplit(")", 1)
            parents.setdefault(int(rest.split()[1]), []).append(int(own.split()[0]))
        except OSError:
            pass
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def sample(pids):
    """The sums over these processes: private memory in KB, open files, and sockets among these."""
    memory = files = sockets = 0
    for pid in pids:
        try:
            status = open(f"/proc/{pid}/status").read()
            memory += int(status.split("RssAnon:")[1].split()[0]) if "RssAnon:" in status else 0
            for fd in os.listdir(f"/proc/{pid}/fd"):
                files += 1
                sockets += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except OSError:
            pass
    return {"memory": memory, "files": files, "sockets": sockets}


def flat(name, values, allowance=None):
    """Prints a row of figures and checks that it is flat; a rise of up to `allowance` is always accepted."""
    kept = values[len(values) // 4 :]
    if len(kept) < 4:
        must(False, f"{name}: {len(kept)} samples are too few to tell")
        return
    rise = (statistics.linear_regression(range(len(kept)), kept).slope if len(set(kept)) > 1 else 0.0) * (len(kept) - 1)
    middle, half = statistics.median(kept), len(kept) // 2
    quarters = [round(statistics.median(kept[len(kept) * at // 4 : len(kept) * (at + 1) // 4])) for at in range(4)]
    # Files are open for a moment while states are read. A leak is never closed, so it raises the minimum.
    fine = rise <= max(0.05 * middle, allowance) if allowance is not None else min(kept[half:]) <= min(kept[:half])
    must(fine, f"{name}: {len(kept)} samples, {min(kept)} to {max(kept)}, medians of its quarters {quarters}, rises by {rise:+.1f}")


class Writers:
    """Changes the states until `stop` is set: with pulls on the first devices, and with replays on the others."""

    def __init__(self, program, directory, agents, found):
        self.program, self.at, self.agents, self.found = program, directory, agents, found
        self.stop, self.pulls, self.replays, self.errors = threading.Event(), 0, 0, queue.Queue()
        self.recordings = sorted(glob.glob(f"{lab.ROOT}/fixtures/*/*.jsonl"))
        self.environment = {"PATH": os.environ["PATH"], "HOME": directory, "DOCKER_CONFIG": f"{directory}/lab/config", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        # A device has the same few images from the beginning, because additional images would need additional memory.
        self.own = {agent.name: [self.recordings[(number * 3 + more) % len(self.recordings)] for more in range(3)] for number, agent in enumerate(agents)}
        for agent in agents[PULLERS:]:
            for recording in self.own[agent.name]:
                self.run("--replay", recording, "--state", agent.state)
        for number in range(PULLERS * len(TAGS)):
            self.pull(number, TAGS[number // PULLERS])
        self.threads = [threading.Thread(target=self.guarded, args=(what,)) for what in (self.pull, self.replay)]

    def begin(self):
        for thread in self.threads:
            thread.start()

    def guarded(self, what):
        number = 0
        while not self.stop.is_set():
            try:
                what(number)
            except Exception as error:
                self.errors.put(f"{what.__name__}: {error!r}")
            number += 1

    def run(self, *arguments):
        return subprocess.run([self.program, "--no-log", "-q", *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def pull(self, number, tag=None):
        device = self.agents[number % PULLERS]
        host = f"unix://{self.found['ENGINE_SOCKET']}"
        # What is asked for before it begins is only to be there.
        first, tag = tag is not None, tag or random.choice(TAGS)
        name = f"{self.found['REGISTRY']}/{tag}"
        done = self.run("--host", host, "--state", device.state, name)
        expected = 1 if tag == "three:missing" else 0
        if done.returncode != expected:
            self.errors.put(f"pull of {name}: exit {done.returncode}: {done.stderr[-200:]}")
        if first:
            return
        self.pulls += 1
        if number % 2:
            subprocess.run(["docker", "-H", host, "rmi", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stop.wait(2)

    def replay(self, _):
        device = random.choice(self.agents[PULLERS:])
        self.run("--replay", random.choice(self.own[device.name]), "--state", device.state, *random.choice([(), ("--speed", "20")]))
        self.replays += 1
        self.stop.wait(0.3)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def disturb(turn, broker, networks):
    """Causes one of the failures, for so short a time that no agent waits for more than a minute afterwards."""
    kind = ("broker killed and emptied", "network cut", "broker ended", "network stalled", "connections reset")[turn % 5]
    print(f"     {time.strftime('%H:%M:%S')} {kind}", flush=True)
    if kind == "broker killed and emptied":
        broker.kill()
        broker.forget()
        time.sleep(2)
        broker.start()
    elif kind == "broker ended":
        broker.process.terminate()
        broker.process.wait()
        time.sleep(1)
        broker.start()
    else:
        for link in networks:
            {"network cut": link.down, "network stalled": link.stall, "connections reset": link.reset}[kind]()
        time.sleep(4)
        for link in networks:
            link.up()
            link.stalled = False


def states(agent):
    """The states of a device from its files, by image, with the fields that are published."""
    images = [json.load(open(file)) for file in glob.glob(f"{glob.escape(agent.state)}/*.json")]
    return {image["id"]: lab.published_fields(image) for image in images}


def differences(agents, broker, page):
    """The differences between files, broker and page; and the number of compared fields."""
    watch = lab.Watch(broker)
    until(lambda: all(watch.online(agent.name) and watch.state(agent.name) for agent in agents), 10)
    shown, found, fields = page.ask("all"), [], 0
    rows = {row["name"]: row for row in shown["rows"]}
    for agent in agents:
        files, told = states(agent), {image["id"]: image for image in watch.state(agent.name).get("images", [])}
        on_page = shown["devices"].get(agent.name, {"images": [], "cls": "", "online": ""})
        paged = {image["id"]: image for image in on_page["images"]}
        if not files.keys() == told.keys() == paged.keys():
            found.append(f"{agent.name}: images {sorted(files)}, broker {sorted(told)}, page {sorted(paged)}")
            continue
        if (watch.online(agent.name), on_page["online"]) != ("online", "online"):
            found.append(f"{agent.name}: online is {watch.online(agent.name)}, on the page {on_page['online']}")
        for name, image in files.items():
            for field in (image.keys() | told[name].keys()) - {"v"} - LAZY:
                fields += 1
                if image.get(field) != told[name].get(field):
                    found.append(f"{agent.name} {name}: {field} is {image.get(field)!r}, at the broker {told[name].get(field)!r}")
            for field in PAGE_KNOWS & told[name].keys():
                fields += 1
                if told[name][field] != paged[name].get(field):
                    found.append(f"{agent.name} {name}: {field} is {told[name][field]!r} at the broker, on the page {paged[name].get(field)!r}")
        row, failed = rows.get(agent.name), any(image["status"] == "Error" for image in files.values())
        versions = {image.get("digest", "").removeprefix("sha256:")[:12] for image in files.values()} | {""}
        if row is None or row["digest"] not in versions or (row["cls"].startswith("Failed")) != failed:
            found.append(f"{agent.name}: its row is {row}, its files {files}")
    return found + [f"the page: {violation}" for violation in shown["violations"]], fields


def soak(seconds, directory, program):
    os.makedirs(f"{directory}/site")
    subprocess.run([f"{lab.ROOT}/deploy/fleet/site.sh", f"{directory}/site"], check=True)
    broker = lab.Broker(f"{directory}/broker", lab.Authority(f"{directory}/ca"), DEVICES)
    # The page with its npm packages, as the Debian package has it.
    os.remove(f"{directory}/broker/share/page")
    os.symlink(f"{directory}/site", f"{directory}/broker/share/page")
    names = [f"pi-{number:03}" for number in range(1, DEVICES + 1)]
    passwords = f"{directory}/broker/etc/alm-fleet/devices.passwd"
    with open(passwords, "w") as file:
        file.writelines(f"{name}:{name}\n" for name in names)
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    broker.start()
    networks = [Link(f"127.0.0.1:{port}") for port in (broker.port, broker.password_port, broker.viewer_port)]
    agents = []
    for name in names:
        if len(agents) < PULLERS:
            broker.authority.issue(name)
            agents.append(lab.Agent(directory, broker, name, port=networks[0].port))
            continue
        password = f"{directory}/{name}.password"
        with open(os.open(password, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(name)
        more = ["--user", name, "--password-file", password, "--device", name]
        agents.append(lab.Agent(directory, broker, name, *more, port=networks[1].port, identity=False))
    page = Page(networks[2].port)
    console = f"/dev/tty{os.environ.get('CONSOLE', '58')}"
    monitor = lab.begin([program, "--status", "--monitor", console, "--state", agents[0].state], stdin=subprocess.DEVNULL, stderr=open(f"{directory}/monitor.log", "w"))
    found = dict(line.strip().split("=", 1) for line in open(f"{directory}/lab/env"))
    watch = lab.Watch(broker)
    all_back = lambda watch: all(watch.online(name) == "online" for name in names)
    page_back = lambda: (seen := page.ask("look"))["link"].startswith("live") and seen["devices"] == DEVICES
    must(until(lambda: all_back(watch), 120) and until(page_back, 60), f"{DEVICES} agents and the page are connected")
    writers = Writers(program, directory, agents, found)
    until(lambda: not differences(agents, broker, page)[0], 30)
    writers.begin()
    rows, began, turn = {}, time.monotonic(), 0
    every = max(1.0, seconds / 240)
    next_trouble = began + min(seconds / 3, 150)
    try:
        while time.monotonic() < began + seconds:
            for name, pids in (("agents", [agent.process.pid for agent in agents]), ("broker", [broker.process.pid]), ("monitor", [monitor.pid]), ("browser", tree(page.pid))):
                # After a restart of the broker its row of figures begins again.
                for what, value in sample(pids).items():
                    rows.setdefault((name, what), []).append(value)
            seen = page.ask("look")
            rows.setdefault(("page", "heap"), []).append(seen["heap"])
            rows.setdefault(("page", "nodes"), []).append(seen["nodes"])
            ended = [agent.name for agent in agents if agent.process.poll() is not None] + ["monitor"] * (monitor.poll() is not None)
            if ended:
                must(False, f"ended by themselves: {ended}: {open(f'{directory}/monitor.log').read()[-300:]}")
                break
            if time.monotonic() > next_trouble and (not SHORT or turn == 0):
                disturb(turn, broker, networks)
                at = time.monotonic()
                watch = lab.Watch(broker)
                must(until(lambda: all_back(watch), 330) and until(page_back, 60), f"all are connected again after {time.monotonic() - at:.0f} s")
                turn += 1
                next_trouble = time.monotonic() + min(seconds / 3, 150)
            time.sleep(every)
    finally:
        writers.end()
    while not writers.errors.empty():
        must(False, writers.errors.get())
    last = []
    until(lambda: not last.append(differences(agents, broker, page)) and not last[-1][0], 60)
    wrong, fields = last[-1]
    for text in wrong[:10]:
        print(f"     {text}")
    must(not wrong, f"{writers.pulls} pulls, {writers.replays} replays, {turn} troubles in {time.monotonic() - began:.0f} s: {fields} fields of {DEVICES} devices are the same in file, broker and page ({len(wrong)} differ)")
    # The figures of the browser and of mosquitto are only printed: a browser's memory varies, mosquitto's heap is new after each start.
    for (name, what), values in rows.items():
        allowance = {"memory": 16 * (DEVICES if name == "agents" else 1), "heap": 1_000_000, "nodes": 10}.get(what)
        if name == "browser" or (name, what) == ("broker", "memory"):
            print(f"     {name}: {what}: {min(values)} to {max(values)}, first {values[0]}, last {values[-1]}")
        else:
            flat(f"{name}: {what}", values, allowance)
    monitor.terminate()
    must(monitor.wait(10) == 143 or monitor.returncode == 0, f"the monitor ends when it is told to ({monitor.returncode})")
    page.process.stdin.close()
    page.process.wait(20)


def main():
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    if len(sys.argv) > 2 or sys.argv[1:] and not SHORT and not sys.argv[1].isdigit():
        sys.exit(__doc__)
    if os.geteuid() != 0:
        sys.exit('soak-fleet.py: needs root, for an engine of its own: sudo -E env "PATH=$PATH" tests/proofs/soak-fleet.py')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "install", "mosquitto", "openssl", "chromium", *([] if shutil.which("npm") else ["nodejs", "npm"])], check=True)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=f"{lab.ROOT}/deploy/fleet", check=True, stdout=subprocess.DEVNULL)
    program = os.environ.get("PULL")
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "docker-pull-with-progress"], cwd=lab.ROOT, check=True)
        program = f"{os.environ.get('CARGO_TARGET_DIR', lab.ROOT + '/target')}/release/docker-pull-with-progress"
    lab.AGENT = lab.agent_program()
    directory = tempfile.mkdtemp(prefix="soak", dir="/tmp")
    try:
        subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "start", f"{directory}/lab"], check=True)
        seconds = 60 if SHORT else int((sys.argv[1:] or ["3600"])[0])
        with section.written("soak-fleet", is_markdown=False, is_whole=seconds >= 3600):
            soak(seconds, directory, os.path.realpath(program))
            print("\n".join(f"WRONG: {text}" for text in lab.wrong) or "all flat, nothing missed")
    finally:
        for process in lab.started:
            process.poll() is None and process.kill()
        # The names of these locks contain the registry's port, so no other test uses them.
        for line in open(f"{directory}/lab/env") if os.path.exists(f"{directory}/lab/env") else ():
            for lock in glob.glob(f"/run/alm/lock/{line.strip().split('=')[1].replace(':', '_')}_*"):
                os.remove(lock)
        subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "stop", f"{directory}/lab"])
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if lab.wrong else 0)


main()
