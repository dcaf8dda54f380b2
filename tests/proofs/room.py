#!/usr/bin/env python3
"""Real pulls onto small file systems: which of them succeed, and which are ended early because the image cannot fit.

  tests/proofs/room.py [OPTION...]

Uses the systems of engines.py. Each engine is started on its own ext4 (a loop device) and on a tmpfs, with the containerd that
dockerd starts and with the system's containerd, which keeps nothing in DockerRootDir. Each case leaves a certain number of
free bytes there, and pulls an image over a link that counts bytes. Prints a table in Markdown, made only from this run; exit
code 1 if anything was wrong. Needs root, Rust (or --program), loop devices, and 4 GB of disk.

  --cache DIR     keep the systems there for the next time; default: a temporary directory
  --program FILE  pull with this program instead of building it; alm-agent must be beside it
  --rows REGEX    only engines whose names match, as in «sid containerd own ext4»
  --cases REGEX   only cases whose names match
  --jobs N        the number of engines at the same time; default: the number of processors

WRITE=1 puts the table into the README.md here.
"""

import argparse, concurrent.futures, json, os, re, shutil, signal, subprocess, sys, tempfile, time, traceback
from datetime import date
from pathlib import Path

sys.dont_write_bytecode = True
import engines, section
from engines import ALONE, CHILDREN, LAB, MB, NAME, PATH, STOP, Engine, Link, Registry, Wrong, expect, layer, run

# The size of each file system: more than five times the largest image.
DISK = 700 * MB

FULL = re.compile(
    r"❌ PULL FAILED: no space left on device for this image: it needs at least (\S+) more where the engine keeps its "
    r"images, and (\S+) are free$",
    re.MULTILINE,
)
TIGHT = "free where the engine keeps its images: unpacked they may not fit"

# Each case has its own image, so that it finds no layers of another case: the sizes of the layers in MB, of random bytes.
THREE, TEN, UNEVEN = [40] * 3, [6] * 10, [30] * 3 + [1] * 20
IMAGES = {"half": THREE, "short": THREE, "paid": THREE, "least": THREE, "least-ten": TEN, "fits": TEN, "uneven": UNEVEN}
IMAGES |= {"tight": TEN, "wide": TEN}


class SmallEngine(Engine):
    """
    One whose images lie on a small file system. `where` is what that holds: `docker` DockerRootDir alone, `containerd` the
    system's containerd's directory alone, `both` all of /var/lib. `containerd` is `own` or `system`.
    """

    def __init__(self, store, root, state, containerd, kind, where):
        super().__init__("docker.io", store, root, state, ())
        self.containerd, self.disk_kind, self.where = containerd, kind, where
        self.disk = state / "disk.img"
        if kind == "ext4":
            with open(self.disk, "wb") as file:
                file.truncate(DISK)
            run("mkfs.ext4", "-q", "-F", self.disk)

    @property
    def directory(self):
        return "/var/lib/containerd" if self.store == "containerd" and self.containerd == "system" else "/var/lib/docker"

    def launch(self, driver):
        mount = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd", "both": "/var/lib"}[self.where]
        command = ["dockerd", "-H", "unix:///mnt/docker.sock", "-s", driver, "--config-file", "/mnt/daemon.json"]
        command += ["--bridge=none", "--iptables=false", "--ip-forward=false"]
        script = """
            root=$0 state=$1 mount=$2 kind=$3 containerd=$4
            shift 4
            mount --bind "$root" "$root"
            mount -o remount,bind,ro "$root"
            for d in run opt tmp var/tmp var/lib etc/docker; do mount -t tmpfs lab "$root/$d"; done
            disk() { if [ $kind = ext4 ]; then mount -o loop "$state/disk.img" "$1"; else mount -t tmpfs -o size=DISK lab "$1"; fi; }
            [ $mount != /var/lib ] || disk "$root/var/lib"
            mkdir -p "$root/var/lib/docker" "$root/var/lib/containerd"
            [ $mount = /var/lib ] || disk "$root$mount"
            mount -t proc lab "$root/proc"
            mount --rbind /sys "$root/sys"
            mount --rbind /dev "$root/dev"
            mountpoint -q "$root/sys/fs/cgroup" || mount -t cgroup2 lab "$root/sys/fs/cgroup"
            mount --bind "$state" "$root/mnt"
            if [ $containerd = system ]; then
                chroot "$root" containerd &
                for _ in $(seq 300); do [ ! -S "$root/run/containerd/containerd.sock" ] || break; sleep 0.1; done
                set -- "$@" --containerd /run/containerd/containerd.sock
            fi
            shift
            exec chroot "$root" "$@" """.replace("DISK", str(DISK))
        (self.state / "docker.sock").unlink(missing_ok=True)
        with open(self.state / "engine.log", "ab") as log:
            command = [*ALONE, "sh", "-ec", script, self.root, self.state, mount, self.disk_kind, self.containerd, "", *command]
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            environment = {"PATH": PATH, "HOME": "/mnt/home"}
            self.process = subprocess.Popen(command, **output, env=environment, start_new_session=True)

    @property
    def pid(self):
        """The process of the engine itself: its mount namespace has all file systems of the engine."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def free(self):
        os.sync()
        disk = os.statvfs(f"/proc/{self.pid}/root{self.directory}")
        return disk.f_bfree * disk.f_frsize

    def leave(self, room):
        """Leaves so many bytes free on the file system of the images."""
        path = Path(f"/proc/{self.pid}/root{self.directory}/filler")
        path.unlink(missing_ok=True)
        # Space becomes free some time after a deletion; the containerd store keeps the data of an ended pull for hours.
        until = time.monotonic() + 30
        while self.free() < self.empty - 30 * MB and time.monotonic() < until:
            time.sleep(0.5)
        fill = self.free() - room
        expect(fill > 0, f"{self.free()} bytes are free, not {room}")
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, fill)
        # The file system needs some blocks for the metadata of such a large file.
        expect(abs(self.free() - room) < MB, f"{self.free()} bytes are free, not {room}")

    def forget(self):
        """Removes all images."""
        for image in json.loads(self.ask("GET", "/images/json")[1]):
            self.order("DELETE", f"/images/{image['Id']}?force=1")
        self.order("POST", "/images/prune")


class Pulled:
    """A pull: its result, its duration and the bytes downloaded."""

    def __init__(self, row, name, rate, *options):
        row.count += 1
        row.link.rate, row.link.carried = rate, 0
        command = ["nsenter", "-t", str(row.engine.pid), "-m", "-p", "-r", "--", f"/mnt/bin/{NAME}"]
        command += ["--host", "unix:///mnt/docker.sock", "--log", f"/mnt/{row.count}.log", "--retries", "0"]
        command += options
        done = subprocess.run(
            [*command, f"{row.link.address}/room:{name}"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={"PATH": PATH, "HOME": "/mnt/home", "LC_ALL": "C.UTF-8"}, timeout=engines.LIMIT,
        )
        self.out, self.exit, self.size = done.stdout, done.returncode, row.sizes[name]
        self.share = row.link.carried / self.size
        expect(done.stderr == "", f"standard error: {done.stderr}")
        row.said = self.out
        found = FULL.search(self.out)
        self.full = found and found.groups()
        self.is_tight = TIGHT in self.out
        # Without the sizes the program would not have decided anything.
        expect("--sizes" in options or "📏 To download: " in self.out, "the sizes were not known")

    def is_whole(self):
        expect(self.exit == 0 and "✅ PULL SUCCESSFUL" in self.out, f"exit {self.exit}")
        return self


CASES = []


def case(name):
    return lambda function: CASES.append((name, function)) or function


def percent(share):
    return f"{share * 100:.1f} %"


def ended(row, name, room):
    row.engine.leave(room)
    pulled = Pulled(row, name, 5 * MB)
    if not row.is_known:
        # If nothing is known, the program says nothing, and the engine fails by itself.
        expect(not pulled.full and not pulled.is_tight, "a judgement without knowledge")
        return f"not judged, {percent(pulled.share)} came"
    expect(pulled.exit == 1 and pulled.full, f"exit {pulled.exit}, and not ended by us")
    expect(pulled.share < 0.05, f"{percent(pulled.share)} came")
    number = lambda text: float(re.match(r"[\d.]+", text)[0]) * {"K": 1e3, "M": MB, "G": 1e9}[text[-2]]
    need, free = map(number, pulled.full)
    expect(free < need <= row.least * pulled.size + MB, f"it needs {need}, and {free} are free")
    expect(abs(free - room) < 0.05 * pulled.size + 2 * MB, f"{free} are free, not {room}")
    expect(("docker image prune" in pulled.out) or row.store == "", "no advice what to do with what is left")
    return percent(pulled.share)


@case("half of the least: ended")
def _(row):
    return ended(row, "half", row.least * row.sizes["half"] // 2)


@case("4 MB less than the least: ended")
def _(row):
    return ended(row, "short", row.least * row.sizes["short"] - 4 * MB)


@case("half of the least, without the agent")
def _(row):
    row.engine.leave(row.least * row.sizes["paid"] // 2)
    pulled = Pulled(row, "paid", 0, "--sizes", "never")
    expect(pulled.exit == 1 and not pulled.full and "no space left on device" in pulled.out, f"exit {pulled.exit}")
    return percent(pulled.share)


def never_refused(row, name, room):
    row.engine.leave(room)
    pulled = Pulled(row, name, 20 * MB)
    expect(not pulled.full, "what may fit was refused")
    expect(pulled.is_tight == row.is_known, "no warning, or one without knowledge")
    return pulled


@case("the least and 1 MB, 3 layers of 40 MB: not refused")
def _(row):
    pulled = never_refused(row, "least", row.least * row.sizes["least"] + MB)
    return "it fits" if pulled.exit == 0 else "it did not fit"


@case("the least and 1 MB, 10 layers of 6 MB: not refused")
def _(row):
    pulled = never_refused(row, "least-ten", row.least * row.sizes["least-ten"] + MB)
    return "it fits" if pulled.exit == 0 else "it did not fit"


@case("10 layers of 6 MB, 84 MB (containerd store 142 MB): fits")
def _(row):
    never_refused(row, "fits", (142 if row.store else 84) * MB).is_whole()


@case("3 layers of 30 MB and 20 of 1 MB, the image (containerd store: twice) and 48 MB: fits")
def _(row):
    never_refused(row, "uneven", (2 if row.store else 1) * row.sizes["uneven"] + 48 * MB).is_whole()


@case("twice (containerd store three times) the image: fits, with a warning")
def _(row):
    never_refused(row, "tight", (3 if row.store else 2) * row.sizes["tight"]).is_whole()


@case("5 times, and what is root's: fits without a word")
def _(row):
    row.engine.leave(5 * row.sizes["wide"] + DISK // 20)
    pulled = Pulled(row, "wide", 40 * MB).is_whole()
    expect("⚠️" not in pulled.out, "a warning")


class Row:
    def __init__(self, suite, store, containerd, kind, where, program):
        self.suite, self.store, self.containerd, self.kind, self.where = suite, store, containerd, kind, where
        self.name = " ".join(filter(None, (suite, store, containerd, kind, where)))
        self.program, self.count, self.results, self.said, self.version = program, 0, {}, "", ""
        self.engine = None
        # Docker 26 does not report the directory of its containerd, so the program can only decide if it makes no difference.
        self.is_known = not (suite == "trixie" and store) or where == "both"
        # The space in multiples of the image: the program counts the image twice only if the file system does not compress.
        self.least = 2 if store and kind == "ext4" else 1

    def start(self, address, sizes, directory, root):
        self.sizes, self.link = sizes, Link(address)
        (directory / "bin").mkdir(parents=True)
        for name in (NAME, "alm-agent"):
            shutil.copy(self.program.parent / name, directory / "bin")
        self.engine = SmallEngine(self.store, root, directory, self.containerd, self.kind, self.where)
        self.engine.start()
        self.engine.empty = self.engine.free()
        self.version = self.engine.describe()[0]


ROWS = [
    (suite, store, containerd, kind, where)
    for suite, store, containerd, where in (
        ("bookworm", "", "own", "docker"),
        ("bookworm", "", "system", "docker"),
        ("trixie", "", "own", "docker"),
        ("trixie", "containerd", "own", "docker"),
        ("trixie", "containerd", "own", "both"),
        ("trixie", "containerd", "system", "containerd"),
        ("trixie", "containerd", "system", "both"),
        ("sid", "", "own", "docker"),
        ("sid", "containerd", "own", "docker"),
        ("sid", "containerd", "system", "containerd"),
    )
    for kind in ("ext4", "tmpfs")
]


def work(row, cases, *start):
    try:
        row.start(*start)
        for name, function in cases:
            if STOP.is_set():
                return
            began = time.monotonic()
            try:
                row.results[name] = ("ok", function(row) or "")
                print(f"{row.name}: {name}: {' '.join(row.results[name])} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as error:
                text = str(error) if isinstance(error, Wrong) else traceback.format_exc()
                row.results[name] = ("WRONG", "")
                print(f"-- {row.name}: {name}: WRONG: {text}\n{row.said}--", flush=True)
            row.engine.forget()
    except Exception:
        print(f"-- {row.name}: WRONG: {traceback.format_exc()}--", flush=True)
    finally:
        for name, _ in cases:
            row.results.setdefault(name, ("WRONG", ""))
        if row.engine and row.engine.process:
            row.engine.kill()
            row.engine.disk.unlink(missing_ok=True)


def table(rows, cases):
    where = {"docker": "DockerRootDir", "containerd": "/var/lib/containerd", "both": "/var/lib"}
    store = lambda row: f"containerd store, {row.containerd} containerd" if row.store else f"graphdriver, {row.containerd} containerd"
    print("\n| engine | images | small file system |", " | ".join(name for name, _ in cases), "|")
    print("|---" * (len(cases) + 3) + "|")
    for row in rows:
        cells = [" ".join(filter(None, row.results[name])) for name, _ in cases]
        print("| " + " | ".join([row.version or row.suite, store(row), f"{row.kind}, {where[row.where]}", *cells]) + " |")


def main():
    parser = argparse.ArgumentParser(add_help=False, usage="tests/proofs/room.py [OPTION]... (see --help)")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--rows", default="")
    parser.add_argument("--cases", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.help:
        print(__doc__)
        return
    if os.geteuid() != 0:
        sys.exit('room.py: needs root, for engines of its own: sudo -E env "PATH=$PATH" tests/proofs/room.py')
    rows = [row for row in ROWS if re.search(options.rows, " ".join(filter(None, row)))]
    cases = [case for case in CASES if re.search(options.cases, case[0])]
    if not rows or not cases:
        sys.exit("room.py: no such row or case")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="room-") as temporary:
        temporary = Path(temporary)
        cache = (options.cache or temporary / "systems").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        program = (options.program or engines.build()).resolve()
        run(LAB, "install", "debootstrap", "e2fsprogs", "util-linux")
        rows = [Row(*row, program) for row in rows]
        try:
            run(LAB, "start", temporary / "lab")
            env = dict(line.split("=", 1) for line in (temporary / "lab/env").read_text().splitlines())
            registry, sizes = Registry(env["REGISTRY"]), {}
            arch = run("dpkg", "--print-architecture").strip()
            for name, layers in IMAGES.items():
                registry.push("room", name, [layer(size * MB) for size in layers], arch)
                sizes[name] = sum(entry["size"] for entry in registry.manifest("room", name)[0]["layers"])
            roots = {suite: engines.system(suite, cache) for suite in {row.suite for row in rows}}
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                try:
                    start = lambda number, row: (env["REGISTRY"], sizes, temporary / str(number), roots[row.suite])
                    futures = [pool.submit(work, row, cases, *start(*pair)) for pair in enumerate(rows) for row in pair[1:]]
                    for future in futures:
                        future.result()
                except BaseException:
                    STOP.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    for child in list(CHILDREN):
                        child.terminate()
                    for row in rows:
                        if row.engine and row.engine.process and row.engine.process.poll() is None:
                            row.engine.kill()
                    raise
        finally:
            run(LAB, "stop", temporary / "lab")
    wrong = sum(kind == "WRONG" for row in rows for kind, _ in row.results.values())
    count = len(rows) * len(cases)
    with section.written("room", is_markdown=True, is_whole=(len(rows), len(cases)) == (len(ROWS), len(CASES))):
        table(rows, cases)
        print(f"\n{date.today()}: {count} cases, {wrong} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
