#!/usr/bin/env python3
"""Compares the program with those that it replaces; prints Markdown. Needs root, to start an Engine.

usage: tests/proofs/race.py [--rounds N] [--quick] [--program FILE] [--without NAME]...

  --rounds N      the number of rounds (default 3: less than 20 minutes on an idle machine, plus the build)
  --quick         a self check of a minute or two: one round, small images of 1 and 3 layers, the ordinary build
  --program FILE  race this executable instead of the static one that build-rpi.sh makes; sizes are raced
                  only if alm-agent is in the same directory, named as in dist/
  --without NAME  leave out a competitor, named as in the table's head

WRITE=1 puts the result into the README.md here.

Missing programs are installed: from Debian with apt-get; docker-py and dockerode below a temporary directory. That is a
tmpfs, which also holds the Engine and its registry, so that no disk is measured; it is removed at the end.

In each round all programs do the same pull one after the other, starting with a different one each time. Figures are
medians; ratios are medians of the ratios to this program in the same round. A budget is missed if the median exceeds it;
it is missed within the noise if the better quarter of the samples meets it. Exit code: 0, also if budgets are missed within
the noise; 1 if one is missed by more, or if anything fails. The ordinary build, which is not released, is not judged, and
with --quick neither are times.

What alm-agent and the page cost is measured by agents.py, beside mosquitto_pub and an agent in Python, and by page.sh.
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import platform
import pty
import random
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "tests/proofs/race"
LAB = ROOT / "tests/lab/lab.sh"
sys.dont_write_bytecode = True
sys.path.insert(0, str(LAB.parent))
import section  # noqa: E402
from link import Link  # noqa: E402

NAME = "docker-pull-with-progress"

OURS, OURS_TTY, OURS_SIZES = "this program", "this program, on a terminal", "this program, with sizes"
DOCKER, DOCKER_TTY = "docker pull", "docker pull, on a terminal"
CURL, DOCKER_PY, DOCKERODE, SHELL = "curl", "docker-py", "dockerode", "shell loop"
ALL = [OURS, OURS_TTY, OURS_SIZES, DOCKER, DOCKER_TTY, CURL, DOCKER_PY, DOCKERODE, SHELL]

# Sizes of layers in KB. The three are those of the README's first example; at RATE they take 10 seconds.
IMAGES = {1: [30_000], 3: [5_000, 20_000, 50_000], 8: [4_000] * 8, 40: [800] * 40}
QUICK = {1: [6_000], 3: [1_000, 4_000, 10_000]}
RATE = 7_500_000  # bytes per second of the throttled link
LINKS = ["fast", "throttled"]

LIMIT = 300  # seconds; no run takes as long
STARTS = 20  # per round


class Failure(Exception):
    """The reason why the race cannot continue."""


def say(text):
    print(f"race: {text}", file=sys.stderr, flush=True)


def succeed(*command, **options):
    """Runs a command that must succeed; returns its output."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    if done.returncode != 0:
        raise Failure(f"{command}: exit {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


# The place


@contextlib.contextmanager
def place():
    """A tmpfs that disappears, with the engine in it, however this process ends."""
    path = Path(tempfile.mkdtemp(prefix="race-", dir="/tmp"))  # short, because paths of sockets are limited
    end = 'cat; "$0" stop "$1/lab"; ! mountpoint -q "$1" || umount "$1" || umount -l "$1"; rmdir "$1"'
    # It waits for the end of a pipe that only this process holds; in its own session, so that Ctrl-C only reaches this process.
    janitor = subprocess.Popen(["sh", "-c", end, LAB, path], stdin=subprocess.PIPE, start_new_session=True)
    try:
        succeed("mount", "-t", "tmpfs", "-o", "mode=0755", "race", path)
        yield path
    finally:
        janitor.stdin.close()
        janitor.wait()


class Engine:
    """The engine of the lab, used without any of the clients that are compared."""

    def __init__(self, path):
        self.path = path

    def ask(self, method, target):
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status >= 400 and answer.status != 404:
            raise Failure(f"{method} {target}: {answer.status} {body!r}")
        return answer.status, json.loads(body)

    def has(self, image):
        return self.ask("GET", f"/images/{quote(image, safe='')}/json")[0] == 200

    def forget(self):
        """Makes the next pull a fresh one."""
        self.ask("POST", "/images/prune?filters=" + quote('{"dangling":["false"]}'))
        left = self.ask("GET", "/images/json?all=1")[1]
        if left:
            raise Failure(f"images are left: {left}")


# Measuring


class Cost:
    """The cost of a run: seconds, CPU seconds, peak memory and written bytes."""

    def __init__(self, line, written):
        code, wall, cpu, peak = line.split()
        self.code, self.wall, self.cpu, self.peak = int(code), float(wall), float(cpu), int(peak) * 1024
        self.written = written


class Terminal:
    """A terminal that reads its input at once and counts the bytes."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        self.text = bytearray()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(self.master, 64 << 10):
                self.text += piece

    def close(self):
        os.close(self.slave)
        self.thread.join(LIMIT)
        os.close(self.master)


class Race:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.out, self.log = place / "out", place / "log"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(place / "home"), "LANG": "C.UTF-8",
                            "TERM": "xterm-256color", "DOCKER_CONFIG": str(place / "home"),
                            "NODE_PATH": str(place / "node/node_modules")}
        (place / "home").mkdir()
        self.names = [name for name in ALL if name not in options.without]
        self.images = QUICK if options.quick else IMAGES
        self.events = 100_000 if options.quick else 1_000_000
        self.pulls = [(link, layers) for link in LINKS for layers in self.images]

    # Preparation

    def install(self):
        needed = {"curl": "curl", "jq": "jq", "cc": "gcc libc6-dev", "node": "nodejs", "npm": "npm", "ldd": "libc-bin"}
        missing = [package for command, packages in needed.items() if not shutil.which(command)
                   for package in packages.split()]
        if subprocess.run(["/usr/bin/python3", "-m", "ensurepip", "--version"], capture_output=True).returncode:
            missing.append("python3-venv")
        say("installs what is missing")
        succeed(LAB, "install", *missing)
        self.measure = self.place / "measure"
        succeed("cc", "-O2", "-Wall", "-o", self.measure, PARTS / "measure.c")
        if DOCKER_PY in self.names:
            succeed("/usr/bin/python3", "-m", "venv", self.place / "venv")
            succeed(self.place / "venv/bin/pip", "install", "-q", "docker")
        if DOCKERODE in self.names:
            (self.place / "node").mkdir()
            succeed("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "dockerode",
                    cwd=self.place / "node")
        # docker's command line from the engine's package, even if another one is installed.
        self.docker = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else shutil.which("docker")

    def build(self):
        say("builds")
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        if self.options.program:
            self.program = Path(self.options.program).resolve()
        elif not self.options.quick:
            architecture, deb = {"x86_64": ("amd64", "amd64"), "aarch64": ("aarch64", "arm64"),
                                 "armv7l": ("armv6", "armhf"), "armv6l": ("armv6", "armhf")}[platform.machine()]
            try:
                succeed(ROOT / "build-rpi.sh", architecture)
            except Failure:
                succeed(ROOT / "build-rpi.sh", "install")
                succeed(ROOT / "build-rpi.sh", architecture)
            self.program = ROOT / "dist" / f"{NAME}-{deb}"
        cargo = ["cargo", "build", "--release", "--locked", "--manifest-path", ROOT / "Cargo.toml"]
        succeed(*cargo)
        succeed(*cargo, "--example", "bare")
        self.ordinary, self.bare = target / "release" / NAME, target / "release/examples/bare"
        if self.options.quick and not self.options.program:
            self.program = self.ordinary
        agent = self.program.with_name(self.program.name.replace(NAME, "alm-agent"))
        # Copies, so that no build can replace a program during the race; and all on the same file system.
        self.program = Path(shutil.copy2(self.program, self.place / NAME))
        # Beside an agent, which it then asks for the sizes of layers.
        self.with_agent = self.place / "with-agent" / NAME
        if agent.exists():
            self.with_agent.parent.mkdir()
            shutil.copy2(self.program, self.with_agent)
            shutil.copy2(agent, self.with_agent.with_name("alm-agent"))
        elif OURS_SIZES in self.names:
            say(f"no {agent.name} beside it: sizes are not raced")
            self.names.remove(OURS_SIZES)
        self.is_static = "INTERP" not in succeed("readelf", "-lW", self.program)

    def start(self):
        say("starts an engine and a registry")
        succeed(LAB, "start", self.place / "lab")
        lab = dict(line.split("=", 1) for line in (self.place / "lab/env").read_text().splitlines())
        self.engine = Engine(lab["ENGINE_SOCKET"])
        for layers, sizes in self.images.items():
            say(f"makes an image of {layers} layers")
            succeed(LAB, "image", self.place / "lab", f"race{layers}:latest", *[f"{size}kB" for size in sizes])
        self.registries = {"fast": lab["REGISTRY"], "throttled": Link(lab["REGISTRY"], RATE).address}

    # Runs

    def command(self, name, image):
        socket_path, log = str(self.engine.path), str(self.log)
        host = ["--host", "unix://" + socket_path]
        reference, tag = image.rsplit(":", 1)
        url = f"http://localhost/images/create?fromImage={reference}&tag={tag}"
        ours = [*host, "--log", log, "--state", str(self.place / "state"), image]
        return {
            OURS: [self.program, *ours],
            OURS_TTY: [self.program, *ours],
            OURS_SIZES: [self.with_agent, *ours],
            DOCKER: [self.docker, *host, "pull", image],
            DOCKER_TTY: [self.docker, *host, "pull", image],
            CURL: ["curl", "-sS", "--no-buffer", "--unix-socket", socket_path, "-X", "POST", url],
            DOCKER_PY: [self.place / "venv/bin/python", PARTS / "docker-py.py", socket_path, image],
            DOCKERODE: ["node", PARTS / "dockerode.js", socket_path, image],
            SHELL: ["bash", PARTS / "shell-loop.sh", socket_path, image, log],
        }[name]

    def run(self, command, is_tty=False):
        """Runs a command while nothing else runs; returns its cost."""
        self.log.unlink(missing_ok=True)
        result = self.place / "result"
        terminal = Terminal() if is_tty else None
        with open(self.out, "wb") as out:
            output = terminal.slave if terminal else out
            child = subprocess.Popen([self.measure, result, *command], stdin=output if terminal else subprocess.DEVNULL,
                                     stdout=output, stderr=output, env=self.environment)
            try:
                child.wait(LIMIT)
            finally:
                child.kill()  # and the measured program, if it has not ended
                child.wait()
                if terminal:
                    terminal.close()
                    out.write(terminal.text)
        written = self.out.stat().st_size + (self.log.stat().st_size if self.log.exists() else 0)
        cost = Cost(result.read_text(), written)
        if cost.code != 0:
            raise Failure(f"{command}: exit {cost.code}\n{self.out.read_text(errors='replace')[-2000:]}")
        return cost

    def pull(self, name, link, layers):
        image = f"{self.registries[link]}/race{layers}:latest"
        cost = self.run(self.command(name, image), name in (OURS_TTY, DOCKER_TTY))
        if not self.engine.has(image):
            raise Failure(f"{name} ended well, and the engine has no {image}:\n{self.out.read_text(errors='replace')}")
        if name == OURS:
            self.log_sizes[link, layers].append(self.log.stat().st_size)
        self.engine.forget()
        return cost

    def race_pulls(self):
        self.costs, self.log_sizes = defaultdict(list), defaultdict(list)
        say("warms up")
        for name in self.names:
            self.pull(name, "fast", 1)
        self.log_sizes.clear()
        for number in range(self.options.rounds):
            for link, layers in self.pulls:
                # These runs are short, so there are more of them.
                for again in range(3 if link == "fast" and not self.options.quick else 1):
                    say(f"round {number + 1} of {self.options.rounds}: {layers} layers, {link}")
                    first = (number + again) % len(self.names)
                    for name in self.names[first:] + self.names[:first]:
                        self.costs[link, layers, name].append(self.pull(name, link, layers))

    def race_ordinary(self):
        """The memory of the ordinary build."""
        self.ordinary_costs = []
        program, self.program = self.program, self.ordinary
        try:
            for _ in range(self.options.rounds):
                self.ordinary_costs.append(self.pull(OURS, "fast", max(self.images)))
        finally:
            self.program = program

    def race_replays(self):
        """A million events: a pull with three layers, its progress in many more steps."""
        say(f"replays {self.events:,} events")
        image = f"{self.registries['throttled']}/race3:latest"
        self.run(self.command(CURL, image))
        lines = self.out.read_bytes().splitlines(keepends=True)
        self.engine.forget()
        big, count = self.place / "million", 0
        steps = self.events // sum(b'"current":' in line for line in lines) + 1
        before = {}
        with open(big, "wb") as file:
            for line in lines:
                event = json.loads(line)
                current = event.get("progressDetail", {}).get("current")
                if current is None:
                    file.write(line)
                    count += 1
                    continue
                key = event["status"], event["id"]
                last, before[key] = before.get(key, 0), current
                head, tail = line.split(b'"current":%d' % current, 1)
                file.writelines(head + b'"current":%d' % (last + (current - last) * step // steps) + tail
                                for step in range(1, steps + 1))
                count += steps
        self.events = count
        commands = {
            "ours": [self.program, "--replay", big],
            "ordinary": [self.ordinary, "--replay", big],
            "bare": [self.bare, big],
            "jq": ["jq", "-c", ".status", big],
        }
        self.replays = defaultdict(list)
        for _ in range(self.options.rounds):
            for name, command in commands.items():
                self.replays[name].append(self.run(command))
                if name == "bare" and self.out.read_text().strip() != str(count):
                    raise Failure("the bare loop has not read everything")
        big.unlink()

    def race_starts(self):
        """From the start of a process to the first byte that it writes."""
        say("starts")
        recording = ROOT / "fixtures/dockerd-20.10.24/fresh-three.jsonl"
        commands = {
            "ours": [self.program, "--replay", recording],
            "ordinary": [self.ordinary, "--replay", recording],
            "echo": ["/bin/echo"],
            "jq": [shutil.which("jq"), "-c", ".", recording],
            "docker": [self.docker, "--version"],
        }
        self.starts = defaultdict(list)
        for _ in range(self.options.rounds * STARTS):
            for name, command in commands.items():
                command = [str(part) for part in command]
                reader, writer = os.pipe()
                began = time.monotonic()
                process = os.posix_spawn(command[0], command, self.environment,
                                         file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
                os.close(writer)
                first = os.read(reader, 1)
                self.starts[name].append(time.monotonic() - began)
                while os.read(reader, 64 << 10):
                    pass
                os.close(reader)
                if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) != 0 or not first:
                    raise Failure(f"{command} says nothing")

    def race_stops(self):
        """From SIGTERM in the middle of a pull to the end of the process."""
        say("stops")
        image = f"{self.registries['throttled']}/race3:latest"
        self.stops = defaultdict(list)
        for _ in range(self.options.rounds):
            for name in [OURS, OURS, OURS, *(set(self.names) & {DOCKER, CURL, DOCKER_PY, DOCKERODE})]:
                command = self.command(name, image)
                with open(self.out, "wb") as out:
                    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                             env=self.environment)
                try:
                    end = time.monotonic() + LIMIT
                    while not self.out.stat().st_size or b"ownload" not in self.out.read_bytes() and name != DOCKER:
                        if child.poll() is not None or time.monotonic() > end:
                            raise Failure(f"{command} never began:\n{self.out.read_text(errors='replace')}")
                        time.sleep(0.01)
                    time.sleep(random.uniform(0.1, 0.6))  # at any point between two ticks
                    began = time.monotonic()
                    child.send_signal(signal.SIGTERM)
                    child.wait()
                    self.stops[name].append(time.monotonic() - began)
                finally:
                    child.kill()
                    child.wait()
                if self.engine.has(image):
                    raise Failure(f"{name} was done before it was stopped")
                time.sleep(0.3)  # until the engine has ended the pull, too

    # Results

    def ratios(self, link, layers, name, what):
        """The ratios to our program, round by round."""
        pairs = zip(self.costs[link, layers, name], self.costs[link, layers, OURS])
        return [getattr(theirs, what) / getattr(ours, what) for theirs, ours in pairs]

    def machine(self):
        cpu = re.search(r"model name\s*:\s*(.*)|Model\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
        memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
        system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())[1]
        version = self.engine.ask("GET", "/version")[1]["Version"]
        locked = re.search(r'name = "serde_json"\nversion = "(.*)"', (ROOT / "Cargo.lock").read_text())[1]
        first = lambda *command: succeed(*command).splitlines()[0]
        words = [first(self.program, "--version") + (" (static)" if self.is_static else " (dynamic)"),
                 f"dockerd {version}", first(self.docker, "--version").split(",")[0],
                 " ".join(first("curl", "--version").split()[:2]), first("jq", "--version"),
                 "bash " + first("bash", "-c", "echo $BASH_VERSION"),
                 first("docker-registry", "--version").replace("github.com/docker/distribution ", ""),
                 first("rustc", "--version").split(" (")[0] + " (ordinary build)", f"serde_json {locked}"]
        if DOCKER_PY in self.names:
            python = self.place / "venv/bin/python"
            words += [first(python, "--version"),
                      "docker-py " + first(python, "-c", "print(__import__('docker').__version__)")]
        if DOCKERODE in self.names:
            package = self.place / "node/node_modules/dockerode/package.json"
            words += ["node " + first("node", "--version"), "dockerode " + json.loads(package.read_text())["version"]]
        load = self.load
        return (f"{time.strftime('%Y-%m-%d')}, {next(filter(None, cpu.groups())) if cpu else platform.machine()}, "
                f"{os.cpu_count()} cores, {memory / 1e9:.0f} GB, {system}, Linux {platform.release()}, "
                f"load {load:.1f} before. {'; '.join(words)}.")

    def sizes(self):
        """The bytes that must be installed: the files, and the shared libraries that ldd lists."""
        def libraries(program):
            done = subprocess.run(["ldd", program], capture_output=True, text=True)  # it fails for a static executable
            return {Path(found).resolve() for found in re.findall(r"(/\S+) \(", done.stdout)}

        def tree(top):
            left_out = {"__pycache__", "pip", "setuptools", "site-packages", "dist-packages", "test"}
            for directory, names, files in os.walk(top):
                names[:] = [name for name in names if name not in left_out]
                yield from (Path(directory, file).resolve() for file in files)

        def size(*programs, trees=()):
            found = [Path(shutil.which(program) or program).resolve() for program in programs]
            files = set(found).union(*map(libraries, found), *map(tree, trees))
            return sum(file.stat().st_size for file in files if file.is_file())

        sizes = {OURS: size(self.program), "this program, ordinary build": size(self.ordinary),
                 DOCKER: size(self.docker), CURL: size("curl"), SHELL: size("bash", "curl", "jq")}
        if DOCKER_PY in self.names:
            python = self.place / "venv/bin/python"
            standard = succeed(python, "-c", "print(__import__('sysconfig').get_paths()['stdlib'])")
            packages = next((self.place / "venv/lib").glob("python3*/site-packages"))
            own = [path for path in packages.iterdir() if not re.match("pip|setuptools|_?distutils", path.name)]
            sizes[DOCKER_PY] = size(python, trees=[standard, *own])
        if DOCKERODE in self.names:
            sizes[DOCKERODE] = size("node", trees=[self.place / "node/node_modules"])
        return sizes


def number(value):
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def times(value):
    return f"{value:.0f}×" if value >= 10 else f"{value:.1f}×" if value >= 1.95 else f"{value:.2f}×"


def named(link, layers):
    return f"{layers} layer{'s' * (layers > 1)}, {link}"


def quarter(samples, is_upper):
    """The quartile: the sample that is nearest to it."""
    ordered = sorted(samples)
    at = (len(ordered) - 1) * (0.75 if is_upper else 0.25)
    return ordered[round(at)]


MEASURES = [("cpu", "CPU", "ms", 1e3), ("peak", "Peak memory", "KB", 1e-3), ("written", "Bytes logged", "KB", 1e-3),
            ("wall", "Wall time", "s", 1)]


def pull_tables(race):
    """A table for each measure, and the comparisons in which our program is worse."""
    lost = []
    for what, title, unit, scale in MEASURES:
        print(f"\n| {title} ({unit}) | " + " | ".join(race.names) + " |")
        print("|---|" + "---|" * len(race.names))
        for link, layers in race.pulls:
            cells = []
            for name in race.names:
                median = statistics.median(getattr(cost, what) for cost in race.costs[link, layers, name]) * scale
                cell = number(median)
                if name != OURS:
                    ratios = race.ratios(link, layers, name, what)
                    ratio = statistics.median(ratios)
                    cell = f"{cell} ({times(ratio)})"
                    if ratio < 0.995 and quarter(ratios, True) < 1:
                        cell = f"**{cell}**"
                        if name not in (OURS_TTY, OURS_SIZES):
                            lost.append((title, name, ratio))
                cells.append(cell)
            print(f"| {named(link, layers)} | " + " | ".join(cells) + " |")
    return lost


def other_table(race):
    """The table of replay, start, stop and size; and the comparisons in which our program is worse."""
    lost = []
    print("\n| what | this program | others, and how many times ours |\n|---|---|---|")

    def row(what, unit, scale, ours, others):
        median = statistics.median
        cells = []
        for name, samples in others:
            if len(samples) == len(ours):
                ratio = median(theirs / own for theirs, own in zip(samples, ours))
            else:
                ratio = median(samples) / median(ours)
            cell = f"{name} {number(median(samples) * scale)} ({times(ratio)})"
            if ratio < 0.995 and not name.startswith("this program"):
                cell = f"**{cell}**"
                lost.append((what, name, ratio))
            cells.append(cell)
        print(f"| {what} ({unit}) | {number(median(ours) * scale)} | {', '.join(cells)} |")

    cpu = {name: [cost.cpu for cost in costs] for name, costs in race.replays.items()}
    peak = {name: [cost.peak for cost in costs] for name, costs in race.replays.items()}
    others = [("this program, ordinary build", "ordinary"), ("bare serde_json loop, ordinary build", "bare"),
              ("`jq -c .status`", "jq")]
    row(f"replay of {race.events:,} events: CPU", "s", 1, cpu["ours"], [(title, cpu[name]) for title, name in others])
    row("the same: peak memory", "KB", 1e-3, peak["ours"], [(title, peak[name]) for title, name in others])
    row("start to first line", "ms", 1e3, race.starts["ours"],
        [("this program, ordinary build", race.starts["ordinary"]), ("`echo`", race.starts["echo"]),
         ("`jq` on the same file", race.starts["jq"]), ("`docker --version`", race.starts["docker"])])
    stops = race.stops
    row("SIGTERM in a pull to exit", "ms", 1e3, stops[OURS], [(name, stops[name]) for name in race.names
                                                               if name in stops and name != OURS])
    sizes = race.sizes()
    row("size, with the shared libraries", "MB", 1e-6, [sizes[OURS]],
        [(name, [size]) for name, size in sizes.items() if name != OURS])
    print("\nSizes: the executable and the shared libraries that `ldd` names, the C library included; of docker-py "
          "also Python's standard library and the packages that pip brought, of dockerode what npm brought.")
    return lost


def budgets(race):
    """Prints whether each budget is kept; returns whether none is exceeded by more than the noise."""
    rows = []

    def check_max(what, samples, limit, unit="", is_judged=True):
        value = statistics.median(samples)
        state = "met"
        if value > limit:
            is_noise = quarter(samples, False) <= limit
            state = "missed, within the noise" if is_noise else "**missed**" if is_judged else "missed, not judged"
        rows.append((what, f"{number(limit)}{unit}", f"{number(value)}{unit}", state))

    def worst(what, samples_of, *limit):
        """The samples of the pull with our worst result."""
        samples = {pull: samples_of(pull) for pull in race.pulls}
        pull = max(samples, key=lambda pull: statistics.median(samples[pull]))
        check_max(f"{what} (worst: {named(*pull)})", samples[pull], *limit)

    is_timed = not race.options.quick
    kind = "static" if race.is_static else "dynamic"
    size, peak = (550, 640) if race.is_static else (600, 3000)
    check_max(f"executable, {kind}", [race.program.stat().st_size / 1e3], size, " KB", race.is_static)
    peaks = lambda costs: [cost.peak / 1e3 for cost in costs]
    worst(f"peak memory of a pull, {kind}", lambda pull: peaks(race.costs[(*pull, OURS)]), peak, " KB")
    if race.is_static:
        check_max("executable, ordinary build", [race.ordinary.stat().st_size / 1e3], 600, " KB", False)
        check_max("peak memory of a pull, ordinary build", peaks(race.ordinary_costs), 3000, " KB", False)
    replays = [("ours", kind, 1.35), ("ordinary", "ordinary build", 1.5)] if race.is_static else [("ours", kind, 1.5)]
    for name, title, limit in replays:
        pairs = zip(race.replays[name], race.replays["bare"])
        ratios = [ours.cpu / bare.cpu for ours, bare in pairs]
        check_max(f"CPU of a replay, {title}, against the bare loop", ratios, limit, "×", is_timed)
    for name, limit in [(DOCKER, 0.08), (SHELL, 0.01)]:
        if name in race.names:
            worst(f"CPU of a pull, against {name}",
                  lambda pull: [1 / ratio for ratio in race.ratios(*pull, name, "cpu")], limit, "×", is_timed)
    if OURS_SIZES in race.names:
        # Both together ask and answer.
        more = lambda pull: [(with_sizes.cpu - ours.cpu) * 1e3
                             for with_sizes, ours in zip(race.costs[(*pull, OURS_SIZES)], race.costs[(*pull, OURS)])]
        worst("CPU of the sizes", more, 10, " ms", is_timed)
    for link in LINKS if DOCKER in race.names else []:
        ratios = [1 / ratio for layers in race.images for ratio in race.ratios(link, layers, DOCKER, "wall")]
        check_max(f"wall time of a {link} pull, against docker pull", ratios, 1.02, "×", is_timed)
    check_max("start to first line", [start * 1e3 for start in race.starts["ours"]], 2, " ms", is_timed)
    check_max("SIGTERM to exit", [stop * 1e3 for stop in race.stops[OURS]], 100, " ms", is_timed)
    if not race.options.quick:
        sizes = [size / 1e3 for size in race.log_sizes["throttled", 3]]
        check_max("log of an ordinary pull (3 layers, 75 MB, 10 s)", sizes, 10, " KB")
    print("\n| budget | at most | measured | |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return all(state != "**missed**" for *_, state in rows)


def report(race):
    rounds = race.options.rounds
    fast = rounds * (1 if race.options.quick else 3)
    print(f"Medians of {fast} fast and {rounds} throttled pulls ({RATE / 1e6:g} MB/s), in brackets how many times "
          "ours, in bold where another is better.\n")
    print("Ours keep log and state file. With sizes, `alm-agent` is asked for the layers' sizes; the memory is then that of the larger "
          "process, the CPU that of both.\n")
    print(f"Machine: {race.machine()}")
    lost = pull_tables(race) + other_table(race)
    print("\nWhere we lose" + (":\n" if lost else ": nowhere."))
    for what in dict.fromkeys(what for what, _, _ in lost):
        ratios = defaultdict(list)
        for _, name, ratio in (row for row in lost if row[0] == what):
            ratios[name].append(ratio)
        is_of_pulls = what in [title for _, title, _, _ in MEASURES]
        words = [f"{name} {times(min(found))}" if not is_of_pulls else
                 f"{name} in {len(found)} of {len(race.pulls)} pulls, {times(min(found))} to {times(max(found))}"
                 for name, found in ratios.items()]
        print(f"* {what}: {'; '.join(words)}")
    return budgets(race)


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--program")
    parser.add_argument("--without", action="append", default=[], choices=ALL[1:])
    parser.add_argument("-h", "--help", action="store_true")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.help:
        print(__doc__)
        return 0
    if os.geteuid() != 0:
        print("race: needs root, for an Engine of its own", file=sys.stderr)
        return 1
    for name in [name for name in os.environ if name.startswith("DOCKER_")]:
        del os.environ[name]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda number_, _: sys.exit(128 + number_))
    try:
        with place() as path:
            race = Race(options, path)
            race.install()
            race.build()
            race.load = os.getloadavg()[1]
            race.start()
            race.race_pulls()
            race.race_ordinary()
            race.race_replays()
            race.race_starts()
            race.race_stops()
            is_whole = not (options.quick or options.without or options.program)
            with section.written("race", is_markdown=True, is_whole=is_whole):
                return 0 if report(race) else 1
    except (Failure, subprocess.TimeoutExpired, OSError) as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
