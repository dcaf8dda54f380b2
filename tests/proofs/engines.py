#!/usr/bin/env python3
"""Real pulls from real engines: Debian's docker.io and podman of several releases, with both image stores.

  tests/proofs/engines.py [OPTION...]

Creates a small Debian of each release (debootstrap), starts each engine in one, pulls from the registries of
tests/lab/lab.sh, and then asks the engine itself what it has. Prints a table in Markdown, made only from this run; exit code
1 if anything was wrong. Needs root, Rust (or --program), and 3 GB; installs missing packages with apt-get.

  --cache DIR     keep the systems there for the next time (remove one to renew it); default: a temporary directory
  --program FILE  pull with this program instead of building it; alm-agent must be beside it
  --rows REGEX    only engines whose names match, as in «sid docker.io containerd»
  --cases REGEX   only cases whose names match; some depend on earlier ones
  --keep DIR      keep logs and recordings there
  --jobs N        the number of engines at the same time; default: the number of processors
  --replayed      nothing of that, but replays what was recorded with engines that no Debian has; needs no root

WRITE=1 puts the table into the README.md here.
"""

import argparse, concurrent.futures, gzip, hashlib, http.client, io, json, os, re, shutil, signal, socket
import subprocess, sys, tarfile, tempfile, threading, time, traceback, urllib.parse, urllib.request
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests/lab/lab.sh"
sys.dont_write_bytecode = True
sys.path.insert(0, str(LAB.parent))
import section
from link import Link

NAME = "docker-pull-with-progress"
MB = 1_000_000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The mounts and processes of a command end with the command.
ALONE = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]

# Seconds. The limit for a pull: even one whose registry never answers again ends before.
LIMIT = 300

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ANY = ", ".join((DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST))

# The texts that engines are known to send. Any other text is new, and must be added to the program.
KNOWN = re.compile(
    r"(Pulling fs layer|Waiting|Already exists|Downloading|Verifying Checksum|Download complete|Extracting)$"
    r"|Pull complete$|Pulling from |Retrying in \d+ seconds?$|Digest: sha256:|WARNING: "
    r"|Status: (Downloaded newer image|Image is up to date) for "
)

# The advice that belongs to each kind of failure.
NOT_FOUND = "check the image's name and tag"
LOGIN = "log in as the user that runs this"
REFUSED_LOGIN = "log in anew as the user that runs this"
PLATFORM = "this image is not built for this machine"
UNREACHABLE = "check that this device reaches the registry"
DAMAGED = "the registry holds a damaged or incomplete image"
ENGINE = "look at Docker"


class Wrong(Exception):
    """An expectation that is not met."""


def expect(truth, text):
    if not truth:
        raise Wrong(text)


# Set when all rows must end at once; the code that sets it also ends the running processes.
STOP = threading.Event()
CHILDREN = set()


def run(*command, **options):
    """Runs a command that must succeed; returns its output."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **output, **options) as child:
        CHILDREN.add(child)
        output = child.communicate()[0].decode(errors="replace")
        CHILDREN.discard(child)
    expect(child.returncode == 0, f"{' '.join(map(str, command))}: exit {child.returncode}:\n{output[-3000:]}")
    return output


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def build():
    """Builds the program and alm-agent. In two builds: in one build cargo would unite the features of both."""
    for package in (NAME, "alm-agent"):
        run("cargo", "build", "--release", "--locked", "-p", package, cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release" / NAME


# == Systems ==


def system(suite, cache):
    """A Debian of that release with docker.io and podman; it is created if it does not exist yet."""
    root = cache / suite
    if root.is_dir():
        return root
    new = Path(tempfile.mkdtemp(prefix=f"{suite}.", dir=cache))
    try:
        run(*ALONE, "debootstrap", "--variant=minbase", suite, new)
        # Keeps packages from starting services.
        policy = new / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        # Debian 13 has docker's command line in a separate package, which is not needed here. The expiry date of a mirror of sid
        # is ignored: its packages are signed even if it is out of date.
        script = """
            apt-get -qq -o Acquire::Check-Valid-Until=false update
            apt-get -qq -y --no-install-recommends install docker.io podman
            apt-get clean
            rm -rf /var/lib/apt/lists/*
            mkdir -p /etc/docker /var/lib/containers"""
        environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        run(*ALONE, "chroot", new, "sh", "-ec", script, env=environment)
        new.chmod(0o755)
        new.rename(root)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return root


# == Registry and images ==


class Registry:
    """The registry, used directly and not over the slow link."""

    def __init__(self, address):
        self.address = address

    def ask(self, method, path, data=None, **headers):
        url = path if path.startswith("http") else f"http://{self.address}/v2/{path}"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read(), answer.headers

    def push_blob(self, repository, data):
        _, headers = self.ask("POST", f"{repository}/blobs/uploads/", b"")
        location = headers["Location"]
        location += ("&" if "?" in location else "?") + "digest=" + sha256(data)
        self.ask("PUT", location, data, Content_Type="application/octet-stream")
        return {"digest": sha256(data), "size": len(data)}

    def push_manifest(self, repository, tag, manifest):
        data = json.dumps(manifest).encode()
        self.ask("PUT", f"{repository}/manifests/{tag}", data, Content_Type=manifest["mediaType"])
        return {"mediaType": manifest["mediaType"], "digest": sha256(data), "size": len(data)}

    def push(self, repository, tag, layers, arch, oci=False, variant=None, **more):
        """Pushes an image of these layers, each (compressed bytes, digest of the uncompressed)."""
        variant = {"variant": variant} if variant else {}
        config = {"os": "linux", "architecture": arch, **variant, "config": more, "rootfs": {"type": "layers"}}
        config["created"] = "2026-11-25T04:37:12Z"
        config["rootfs"]["diff_ids"] = [plain for _, plain in layers]
        config["history"] = [{"created_by": "test"} for _ in layers]
        kind = lambda docker, oci_kind: {"mediaType": oci_kind if oci else docker}
        manifest = {"schemaVersion": 2, **kind(DOCKER_MANIFEST, OCI_MANIFEST)}
        manifest["config"] = kind(DOCKER_CONFIG, OCI_CONFIG) | self.push_blob(repository, json.dumps(config).encode())
        manifest["layers"] = [
            kind(DOCKER_LAYER, OCI_LAYER) | self.push_blob(repository, packed) for packed, _ in layers
        ]
        return self.push_manifest(repository, tag, manifest)

    def push_index(self, repository, tag, entries):
        """Pushes an index of pushed manifests, each (manifest, architecture)."""
        entries = [pushed | {"platform": {"os": "linux", "architecture": arch}} for pushed, arch in entries]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.push_manifest(repository, tag, index)

    def manifest(self, repository, reference):
        data, _ = self.ask("GET", f"{repository}/manifests/{reference}", Accept=ANY)
        return json.loads(data), sha256(data)


class Image:
    """An image in the registry; after a pull the engine must have the same."""

    def __init__(self, registry, repository, tag, arch):
        manifest, self.digest = registry.manifest(repository, tag)
        self.digests = {self.digest}
        for entry in manifest.get("manifests", []):
            if entry["platform"]["architecture"] == arch:
                manifest, digest = registry.manifest(repository, entry["digest"])
                self.digests.add(digest)
        config, _ = registry.ask("GET", f"{repository}/blobs/{manifest['config']['digest']}")
        config = json.loads(config)
        self.arch = config["architecture"]
        self.plain = config["rootfs"]["diff_ids"]
        self.layers = [layer["digest"] for layer in manifest["layers"]]
        self.sizes = {layer["digest"]: layer["size"] for layer in manifest["layers"]}


def layer(size):
    """Random bytes as a layer."""
    return layer_of(os.urandom(8).hex(), os.urandom(size))


def layer_of(name, content, mode=0o644):
    """One file as a layer."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), 1, mtime=0), sha256(data.getvalue())


def waits(directory):
    """A layer with a program that waits, so that a container can run it."""
    source, program = directory / "waits.c", directory / "waits"
    source.write_text("int pause(void); int main(void) { return pause(); }\n")
    run("cc", "-static", "-o", program, source)
    return layer_of("waits", program.read_bytes(), 0o755)


def push_images(registry, own):
    """Pushes what the images of tests/lab/lab.sh do not cover. Images whose pulls are interrupted have their own layers."""
    other = "arm64" if own != "arm64" else "amd64"
    for tag in ("lost", "revived", "killed", "back", "reset", "reset-again"):
        registry.push("long", tag, [layer(size * MB) for size in (9, 6, 3)], own)
    registry.push("pinned", "latest", [layer(MB), layer(MB)], own, oci=True)
    for tag in ("ended", "pruned", "stopped", "late", "two"):
        registry.push("left", tag, [layer(12 * MB), layer(3 * MB)], own)
    for tag in ("missing", "damaged", "single"):
        registry.push("odd", tag, [layer(MB), layer(MB)], own)
    registry.push("secret", "latest", [layer(MB), layer(2 * MB)], own)
    shared = layer(MB)
    registry.push("twice", "latest", [shared, layer(2 * MB), shared], own)

    # Another image with the same layers.
    manifest, _ = registry.manifest("three", "latest")
    config, _ = registry.ask("GET", f"three/blobs/{manifest['config']['digest']}")
    config = json.loads(config)
    config["config"]["Labels"] = {"another": "image"}
    manifest["config"] |= registry.push_blob("three", json.dumps(config).encode())
    registry.push_manifest("three", "labelled", manifest)

    # Like images of buildx: an index with a manifest and an attestation for each platform.
    tags = {tag: (own, other) for tag in ("both", "again", "checked", "asked", "sized", "reported")}
    tags["foreign"] = ("s390x", "ppc64le")
    for tag, platforms in tags.items():
        entries = []
        for arch in platforms:
            pushed = registry.push("multi", f"{tag}-{arch}", [layer(MB), layer(3 * MB)], arch, oci=True)
            entries.append(pushed | {"platform": {"os": "linux", "architecture": arch}})
            statement = registry.push_blob("multi", json.dumps({"of": pushed["digest"]}).encode())
            config = registry.push_blob("multi", b'{"architecture":"unknown","os":"unknown"}')
            attestation = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG} | config,
                "layers": [{"mediaType": "application/vnd.in-toto+json"} | statement],
            }
            reference = {"type": "attestation-manifest", "digest": pushed["digest"]}
            entries.append(
                registry.push_manifest("multi", f"{tag}-{arch}-att", attestation)
                | {"platform": {"os": "unknown", "architecture": "unknown"}}
                | {"annotations": {f"vnd.docker.reference.{key}": value for key, value in reference.items()}}
            )
        registry.push_manifest("multi", tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    # Only for the platform of the oldest Raspberry Pis.
    pushed = registry.push("multi", "v6-only", [layer(MB)], "arm", oci=True, variant="v6")
    entry = pushed | {"platform": {"os": "linux", "architecture": "arm", "variant": "v6"}}
    registry.push_manifest("multi", "v6", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    # A single manifest, for another platform.
    registry.push("odd", "elsewhere", [layer(MB)], other)
    return other


# == Engines ==


class OverSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Engine:
    """An engine in its own system; the system itself is not changed."""

    def __init__(self, kind, store, root, state, registries):
        self.kind, self.store, self.root, self.state = kind, store, root, state
        self.socket = state / "docker.sock"
        self.process, self.driver = None, None
        (state / "home/.config/containers").mkdir(parents=True)
        if kind == "podman":
            policy = {"default": [{"type": "insecureAcceptAnything"}]}
            (state / "home/.config/containers/policy.json").write_text(json.dumps(policy))
            entry = '[[registry]]\nlocation = "{}"\ninsecure = true\n'
            (state / "registries.conf").write_text("".join(entry.format(registry) for registry in registries))
        else:
            features = {"containerd-snapshotter": store == "containerd"}
            (state / "daemon.json").write_text(json.dumps({"features": features}))

    def start(self):
        # If overlay does not work in this directory, the driver that copies does.
        drivers = {"podman": ("overlay", "vfs"), "containerd": ("overlayfs", "native")}
        drivers = drivers.get(self.kind) or drivers.get(self.store) or ("overlay2", "vfs")
        for driver in [self.driver] if self.driver else drivers:
            self.launch(driver)
            until = time.monotonic() + 120
            while self.process.poll() is None and time.monotonic() < until:
                if self.answers():
                    self.driver = driver
                    return
                time.sleep(0.1)
            if self.process.poll() is None:
                self.kill()
                break
        raise Wrong(f"the engine does not start:\n{(self.state / 'engine.log').read_text(errors='replace')[-3000:]}")

    def launch(self, driver):
        if self.kind == "podman":
            command = ["podman", "--root", "/mnt/data", "--runroot", "/run/lab", "--tmpdir", "/run/lab-tmp"]
            command += ["--storage-driver", driver, "system", "service", "--time", "0", "unix:///mnt/docker.sock"]
        else:
            command = ["dockerd", "-H", "unix:///mnt/docker.sock", "--data-root", "/mnt/data", "-s", driver]
            command += ["--config-file", "/mnt/daemon.json", "--bridge=none", "--iptables=false", "--ip-forward=false"]
        # The mounts and processes of the engine end with its namespaces. On a machine without init the cgroups may not be mounted.
        script = """
            mount --bind "$0" "$0"
            mount -o remount,bind,ro "$0"
            for d in run opt tmp var/tmp etc/docker var/lib/containers; do mount -t tmpfs lab "$0/$d"; done
            mount -t proc lab "$0/proc"
            mount --rbind /sys "$0/sys"
            mount --rbind /dev "$0/dev"
            mountpoint -q "$0/sys/fs/cgroup" || mount -t cgroup2 lab "$0/sys/fs/cgroup"
            mount --bind "$1" "$0/mnt"
            shift
            exec chroot "$0" "$@" """
        environment = {"PATH": PATH, "HOME": "/mnt/home", "CONTAINERS_REGISTRIES_CONF": "/mnt/registries.conf"}
        (self.state / "docker.sock").unlink(missing_ok=True)
        with open(self.state / "engine.log", "ab") as log:
            command = [*ALONE, "sh", "-ec", script, self.root, self.state, *command]
            output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, **output, env=environment, start_new_session=True)

    def kill(self):
        """Kills the engine and everything that it started with SIGKILL."""
        pid = self.process.pid
        try:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(30)

    def stop(self):
        """Ends the engine with SIGTERM, which takes some seconds."""
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Wrong("the engine does not end within 60 s of SIGTERM") from None

    def answers(self):
        try:
            return self.ask("GET", "/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, method, path, body=None):
        connection = OverSocket(self.socket)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def describe(self):
        """Returns name and version; the engine must use the requested store."""
        version = json.loads(self.ask("GET", "/version")[1])
        info = json.loads(self.ask("GET", "/info")[1])
        is_containerd = "io.containerd.snapshotter" in json.dumps(info.get("DriverStatus"))
        expect(is_containerd == (self.store == "containerd"), f"another store: {info.get('DriverStatus')}")
        expect(info["Driver"] == self.driver, f"the driver is {info['Driver']}")
        number = re.match(r"[\d.]+", version["Version"])[0].rstrip(".")
        return f"{self.kind} {number}", info["Driver"]

    def inspect(self, name, query="", version=""):
        status, body = self.ask("GET", f"{version}/images/{name}/json{query}")
        expect(status in (200, 404), f"inspect {name}: {status} {body[:300]}")
        return json.loads(body) if status == 200 else None

    def order(self, method, path, body=None):
        """Sends a request that must succeed."""
        status, answer = self.ask(method, path, body)
        expect(status < 300, f"{method} {path}: {status} {answer[:300]}")

    def unfinished(self):
        """The bytes of incomplete layers in the store."""
        if self.store == "containerd":
            files = (self.state / "data/containerd/daemon/io.containerd.content.v1.content/ingest").glob("*/data")
        else:
            files = (self.state / "data/tmp").glob("GetImageBlob*")
        return sum(file.stat().st_size for file in files)

    def has_all(self, name, image):
        """Compares the digest, the platform and the bytes of all layers with those that the engine exports."""
        found = self.inspect(name)
        expect(found, f"the engine does not have {name}")
        digests = {digest.split("@")[1] for digest in found["RepoDigests"]}
        # Podman may know an image by the digest of its own manifest.
        expected = image.digests if self.kind == "podman" else {image.digest}
        expect(digests & expected, f"digests {digests}, not {expected}")
        expect(found["Architecture"] == image.arch, f"{found['Architecture']}, not {image.arch}")
        expect(found["RootFS"]["Layers"] == image.plain, f"layers {found['RootFS']['Layers']}, not {image.plain}")
        if self.store == "containerd":
            # It does not export an image of another platform than its own.
            blobs = self.state / "data/containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
            for digest in image.layers:
                path = blobs / digest.removeprefix("sha256:")
                expect(path.exists() and sha256(path.read_bytes()) == digest, f"{digest} is not in the store")
            return
        status, body = self.ask("GET", f"/images/{name}/get")
        expect(status == 200, f"export of {name}: {status} {body[:300]}")
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            there = {sha256(tar.extractfile(member).read()) for member in tar if member.isfile()}
        for pair in zip(image.layers, image.plain):
            expect(there & set(pair), f"the engine does not hand out layer {pair}")

    def tag(self, name, repository, tag):
        status, body = self.ask("POST", f"/images/{name}/tag?repo={repository}&tag={tag}")
        expect(status == 201, f"tag: {status} {body[:300]}")

    def untag(self, name):
        status, body = self.ask("DELETE", f"/images/{name}")
        expect(status == 200, f"untag: {status} {body[:300]}")


# == Pulls ==


class Pull:
    """A pull with the program."""

    def __init__(self, row, image, *options):
        self.row, self.image, self.began = row, image, time.monotonic()
        self.stem = row.dir / f"{len(row.pulls):02}"
        with open(self.path("out"), "wb") as out, open(self.path("err"), "wb") as err:
            command = [row.program, "--host", f"unix://{row.engine.socket}", "--log", self.path("log")]
            command += ["--record", self.path("jsonl"), *options, image]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=row.environment()
            )
        row.pulls.append(self)

    def path(self, end):
        return Path(f"{self.stem}.{end}")

    def read(self, end):
        return self.path(end).read_text()

    def until(self, *texts):
        """Waits until one of these texts is on standard output; returns this text."""
        while True:
            ended = self.process.poll() is not None
            out = self.read("out")
            for text in texts:
                if text in out:
                    return text
            expect(not ended, f"it never printed {texts}")
            expect(time.monotonic() - self.began < LIMIT, f"it has not printed {texts} for {LIMIT} s")
            time.sleep(0.02)

    def until_half(self):
        """Waits until one layer is mostly downloaded, and none completely."""
        self.until(*(f"] {percent}% " for percent in range(30, 90)))

    def finish(self):
        try:
            self.exit = self.process.wait(max(1, LIMIT - (time.monotonic() - self.began)))
        except subprocess.TimeoutExpired:
            raise Wrong(f"it does not end within {LIMIT} s") from None
        self.out, self.log = self.read("out"), self.read("log")
        self.lines = [line[22:] for line in self.out.splitlines()]
        self.check_log()
        self.check_recording()
        return self

    def check_recording(self):
        """A replay must print the same log, and the engine must have sent known texts only."""
        again = self.path("again.log")
        again.unlink(missing_ok=True)
        played = subprocess.run(
            [self.row.program, "--replay", self.path("jsonl"), "--log", again],
            stdin=subprocess.DEVNULL, capture_output=True, env=self.row.environment(),
        )
        expect(played.returncode == self.exit, f"the replay ends with {played.returncode}, not {self.exit}")
        expect(played.stdout.decode() == self.out, "the replay prints something else")
        expect(played.stderr == b"", f"the replay complains: {played.stderr}")
        expect(again.read_text() == self.log, "the replay's log is another")
        again.unlink()
        rows = [json.loads(line) for line in self.read("jsonl").splitlines()][1:]
        self.ends = [row[2]["end"] for row in rows if row[1] == "x"]
        for _, code, event in rows:
            expect(code != "r", f"not JSON: {event}")
            if code == "e" and "error" not in event and "message" not in event:
                expect(KNOWN.match(event.get("status", "")), f"a status that is not known: {event}")

    def check_log(self):
        """Checks what must hold for the log of every pull, whatever its result."""
        expect(self.read("err") == "", f"standard error: {self.read('err')}")
        human = "".join(line + "\n" for line in self.log.splitlines() if line[9:10] != "]")
        expect(human == self.out, "the log is not what stood on standard output")
        stamps = [line[:21] for line in self.out.splitlines()]
        expect(stamps == sorted(stamps), "times go back")
        queued, bars, counted = set(), {}, []
        for line in self.lines:
            if line.startswith("🔁 Retry"):
                queued, bars, counted = set(), {}, []
            if not (found := re.match(r"\S+ +Layer ([0-9a-f]{12})[: ] ?(.*)", line)):
                continue
            layer_id, what = found.groups()
            if what.startswith("queued"):
                expect(layer_id not in queued, f"queued twice: {line}")
                queued.add(layer_id)
            expect(layer_id in queued, f"before it was queued: {line}")
            if what == "starts again":
                bars = {key: percent for key, percent in bars.items() if key[0] != layer_id}
            if bar := re.search(r"\[([█░]+)\] (\d+)%", line):
                expect(len(bar[1]) == 40, f"the bar's width: {line}")
                key = (layer_id, line[0])
                expect(bars.get(key, 0) <= int(bar[2]) <= 100, f"it goes back: {line}")
                # The percentage and the cells of the bar are both rounded down.
                low, high = int(bar[2]) * 40 // 100, (int(bar[2]) + 1) * 40 // 100
                expect(low <= bar[1].count("█") <= high, f"the bar is not its percentage: {line}")
                bars[key] = int(bar[2])
            if count := re.search(r"(?:Complete|cached) \((\d+)/(\d+)\)(?:, [^()]*)?$", line):
                counted.append(layer_id)
                expect(len(set(counted)) == len(counted) == int(count[1]) <= int(count[2]), f"n/N: {line}")
        self.cached = sum("Already cached" in line for line in self.lines)
        self.retries = sum(line.startswith("🔁 Retry") for line in self.lines)
        self.check_end(len(counted))

    def check_end(self, counted):
        """Checks the closing block."""
        rule = self.lines[-1]
        expect(rule.startswith("====="), "no closing block")
        closing = self.out.rsplit(rule, 2)[1]
        closing = [line[22:] for line in closing.splitlines()]
        self.success = "✅ PULL SUCCESSFUL" in closing
        expect(self.out.count("SUCCESSFUL") == self.success, "a success that is none")
        failed = [line for line in closing if line.startswith(("❌ PULL FAILED: ", "🛑 PULL INTERRUPTED "))]
        expect(self.success == (self.exit == 0) == (not failed), f"exit {self.exit} and {closing}")
        self.reason = failed[0].removeprefix("❌ PULL FAILED: ") if failed else ""

        def find(pattern, default):
            found = [found.groups() for line in closing if (found := re.fullmatch(pattern, line))]
            return found[0] if found else default

        # After a failure the closing block has the last overall progress.
        (percent,) = find(rf"{'Overall Progress' if self.success else 'Stopped at'}: \[[█░]{{50}}\] (\d+)%", ("-1",))
        expect((int(percent) == 100) == self.success and int(percent) >= 0, f"overall {percent}")
        self.n, self.total = map(int, find(r"Layers: (\d+)/(\d+) completed", (0, 0)))
        expect(self.n == counted, f"{self.n} layers are completed, {counted} were shown")
        expect(not self.success or self.n == self.total, f"a success with {self.n}/{self.total}")
        is_minimum, number, unit = find(r"Downloaded: (≥?)([\d.]+)([KMG]?B) in .*", ("", 0, "B"))
        self.grain = {"B": 1, "KB": 1000, "MB": MB, "GB": 1000 * MB}[unit]
        self.is_minimum, self.moved = bool(is_minimum), int(float(number) * self.grain)

    # Expected results.

    def fetched_share(self, image):
        """Checks that it has succeeded; returns the downloaded bytes as a share of the image's size."""
        expect(self.exit == 0, f"exit {self.exit}: {self.reason}")
        self.row.engine.has_all(self.image, image)
        size = sum(image.sizes.values())
        # The containerd store reports a layer only after its first write of a mebibyte, so it cannot be known whether these bytes
        # were downloaded or were there before.
        unknown = len(image.sizes) * (1 << 20) if self.row.store == "containerd" else 0
        expect(self.moved <= self.carried + unknown, f"{self.moved} shown, {self.carried} transferred")
        # The log shows the downloaded bytes, except for those that no event reported: of a tenth of a second, or a write of a megabyte.
        is_near = self.moved + self.grain + 1.5 * MB + size / 10 >= self.carried
        expect(self.is_minimum or is_near, f"{self.moved} shown, {self.carried} transferred")
        return self.carried / size

    def pulled(self, image, layers, cached=0, fetched=()):
        """
        It has succeeded, so many layers were shown, and so many of them as cached; after a break nobody knows how many.
        `fetched` are the digests of those that had to come.
        """
        expect(self.exit == 0, f"exit {self.exit}: {self.reason}")
        self.row.engine.has_all(self.image, image)
        is_podman, is_broken = self.row.kind == "podman", "🔁" in self.out
        expect(is_broken or self.total == layers, f"{self.n}/{self.total} layers, not {layers}")
        expect(is_broken or self.cached == cached, f"{self.cached} were cached, not {cached}")
        fetched = sum(image.sizes[digest] for digest in set(fetched))
        expect(fetched <= self.carried, f"{self.carried} bytes were transferred for {fetched}")
        # Podman reports an interrupted layer as complete, and counts it as complete.
        expect(self.moved <= self.carried or (is_podman and is_broken), f"{self.moved} shown, {self.carried} transferred")
        if not is_broken:
            # Podman fetches a layer as often as it is in the image.
            maximum = sum(image.sizes[digest] for digest in image.layers) if is_podman else fetched
            expect(self.carried <= maximum * 1.05 + 200_000, f"{self.carried} bytes were transferred for {fetched}")
            expect(self.moved <= fetched, f"{self.moved} bytes are shown of {fetched}")
        if not self.retries:
            expect(self.is_minimum or self.moved + self.grain > fetched, f"{self.moved} bytes are shown, not {fetched}")
        if not is_podman:
            expect(f"🔐 Image digest: {image.digest}" in self.lines, "no digest, or a wrong one")
            expect(any(line.startswith("📊 Status: ") for line in self.lines), "no status")
        return self.outcome()

    def refused(self, advice, reason):
        """Checks that it has failed for this reason, with this advice."""
        expect(self.exit == 1, f"exit {self.exit}, which is not 1")
        expect(re.search(reason, self.reason, re.IGNORECASE), f"the reason is {self.reason}")
        expect(any(line.startswith(f"💡 {advice}") for line in self.lines), f"no advice to {advice}")

    def failed(self, advice, reason):
        """The same, and the engine does not have the image."""
        self.refused(advice, reason)
        if not self.row.engine.answers():
            self.row.engine.start()
        expect(self.row.engine.inspect(self.image) is None, f"the engine has {self.image}")
        return self.outcome()

    def outcome(self):
        """The result, for the table."""
        parts = []
        if self.total and self.success:
            parts.append(f"{self.n}/{self.total}")
        if not self.success:
            parts.append({"complete": "in stream"}.get(self.ends[0], self.ends[0].replace("refused ", "HTTP ")))
        if self.retries:
            parts.append(f"{self.retries} retry" if self.retries == 1 else f"{self.retries} retries")
        return ", ".join(parts)


# == The cases ==

CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function

    return add


def docker_case(name):
    """A case without podman, which cannot be asked about a registry and has other rules."""

    def add(function):
        case(name)(lambda row: "not asked" if row.kind == "podman" else function(row))
        return function

    return add


class Row:
    """One engine with one store, and the results of all its cases."""

    def __init__(self, suite, kind, store, program):
        self.suite, self.kind, self.store, self.program = suite, kind, store, program
        self.name = " ".join(filter(None, (suite, kind, store)))
        self.pulls, self.results, self.sizes = [], {}, {}
        self.engine, self.version, self.driver = None, "", ""

    def environment(self):
        return {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(self.dir)}

    def begin(self, image, *options):
        self.link.carried = self.private.carried = 0
        self.logged = {log: log.stat().st_size for log in (self.lab / "registry.log", self.lab / "private.log")}
        return Pull(self, image, *options)

    def pull(self, image, *options):
        return self.end(self.begin(image, *options))

    def end(self, pull):
        pull.finish()
        pull.carried = self.link.carried + self.private.carried
        pull.sizes = self.check_sizes(pull)
        return pull

    def served(self, ids):
        """The bytes of these layers that the registries have sent since the pull began, according to their logs."""
        count = 0
        for log, at in self.logged.items():
            with open(log, "rb") as file:
                file.seek(at)
                text = file.read().decode(errors="replace")
            found = re.findall(r'"GET /v2/\S+/blobs/sha256:([0-9a-f]{12})\S* HTTP/1.1" (20[06]) (\d+)', text)
            # The remaining part of a layer that an earlier pull had downloaded partly.
            if any(layer_id in ids and status == "206" for layer_id, status, _ in found):
                return None
            count += sum(int(size) for layer_id, _, size in found if layer_id in ids)
        return count

    def check_sizes(self, pull):
        """
        What the registry said beforehand, where it was asked and answered in time: `equal` where that is what came, to the
        byte; `known` where something broke, or nothing had to come.
        """
        rows = [json.loads(line) for line in pull.read("jsonl").splitlines()][1:]
        answers = [data["layers"] for _, code, data in rows if code == "s" and "layers" in data]
        expect(not answers or self.kind != "podman", "podman does not report how it reaches registries")
        if not answers:
            return None
        sizes = dict(answers[-1])
        ids_of = lambda status: {data["id"] for _, code, data in rows if code == "e" and data.get("status") == status}
        announced, here = ids_of("Pulling fs layer"), ids_of("Already exists")
        expect(announced <= sizes.keys(), f"sizes of another platform: {announced} and {sizes}")
        for layer_id in announced:
            for path in (self.lab / "store/docker/registry/v2/blobs/sha256" / layer_id[:2]).glob(f"{layer_id}*/data"):
                expect(path.stat().st_size == sizes[layer_id], f"{layer_id} has {path.stat().st_size} bytes, not {sizes}")
        total = sum(sizes[layer_id] for layer_id in announced - here)
        if not here:
            number, unit = total, "B"
            for unit, size in (("GB", 1000 * MB), ("MB", MB), ("KB", 1000), ("B", 1)):
                if total >= size:
                    number = total // size
                    break
            expect(f"📏 To download: {number}{unit} in {len(announced)} layer" in pull.out, f"the total is not {total}")
        if not pull.success or "🔁" in pull.out or not announced - here:
            return "known"
        until = time.monotonic() + 2
        while (served := self.served(announced - here)) is not None and served < total and time.monotonic() < until:
            time.sleep(0.05)
        expect(served in (None, total), f"{served} bytes came, not {total}")
        return "equal" if served else "known"

    def at(self, image):
        return f"{self.link.address}/{image}"

    def image(self, name, arch=None):
        repository, _, tag = name.partition(":")
        return Image(self.registry, repository, tag or "latest", arch or self.arch)

    def layer_file(self, name):
        """The registry's file of an image's last layer."""
        digest = self.image(name).layers[-1].removeprefix("sha256:")
        return self.lab / "store/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"

    def order(self, what, part):
        run(LAB, what, self.lab, part)

    def entries(self, image):
        """The digests of an index, of its manifest for this machine, and of its manifest for the other platform."""
        repository, _, tag = image.partition(":")
        manifest, digest = self.registry.manifest(repository, tag)
        by_arch = {entry["platform"]["architecture"]: entry["digest"] for entry in manifest["manifests"]}
        return digest, by_arch[self.arch], by_arch[self.other]

    def push_run(self, own, other):
        """Pushes an image for two platforms, whose program waits; each word results in another image."""
        pushed = [
            (self.registry.push("run", f"{arch}-{word}", [self.waits], arch, True, Entrypoint=["/waits"], User="0", Labels={"is": word}), arch)
            for word, arch in ((own, self.arch), (other, self.other))
        ]
        self.registry.push_index("run", "latest", pushed)

    def requests(self, act):
        """The requests to the registry while `act` runs: method and path, without the digests of blobs and manifests."""
        log = self.lab / "registry.log"
        before = log.stat().st_size
        act()
        time.sleep(0.2)
        with open(log, "rb") as file:
            file.seek(before)
            lines = file.read().decode(errors="replace").splitlines()
        asked = [found.groups() for line in lines if (found := re.match(r'\S+ - - \[.*?\] "(\w+) (/v2/\S*) HTTP', line))]
        what = lambda path: "base" if path == "/v2/" else path.split("/")[-2]
        return sorted(f"{method} {what(path)}" for method, path in asked)

    def ended(self, image):
        """Pulls the image and ends the pull half way with SIGTERM; returns the downloaded bytes."""
        self.link.rate = 3 * MB
        pull = self.begin(self.at(image))
        pull.until(*(f"({megabytes}MB / 12MB)" for megabytes in range(4, 12)))
        pull.process.terminate()
        self.end(pull)
        expect(pull.exit == 143 and "🛑 PULL INTERRUPTED (SIGTERM)" in pull.lines, f"exit {pull.exit}")
        self.link.rate = 0
        return pull.carried / sum(self.image(image).sizes.values())

    @property
    def names_cached(self):
        """Whether the engine reports layers that it already has."""
        return self.store != "containerd"

    def start(self, base, directory, root, arch, other, waits):
        self.dir, self.lab, self.arch, self.other, self.waits = directory, directory / "lab", arch, other, waits
        (directory / "engine").mkdir(parents=True)
        run(LAB, "start", self.lab, base)
        env = dict(line.split("=", 1) for line in (self.lab / "env").read_text().splitlines())
        self.registry = Registry(env["REGISTRY"])
        self.link, self.private = Link(env["REGISTRY"]), Link(env["PRIVATE_REGISTRY"])
        registries = (self.link.address, self.private.address)
        self.engine = Engine(self.kind, self.store, root, directory / "engine", registries)
        self.engine.start()
        self.version, self.driver = self.engine.describe()

    def end_pulls(self):
        for pull in self.pulls:
            if pull.process.poll() is None:
                pull.process.kill()
                pull.process.wait()

    def end_all(self):
        self.end_pulls()
        if self.engine and self.engine.process and self.engine.process.poll() is None:
            self.engine.kill()

    def check(self, image, *options, env=None):
        """Runs `--check`; returns its exit code and its line."""
        command = [self.program, "--host", f"unix://{self.engine.socket}", "--check", *options, self.at(image)]
        environment = self.environment() | (env or {})
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
        expect(done.stderr == "" and done.stdout.count("\n") == 1, f"{done.stdout}{done.stderr}")
        return done.returncode, done.stdout

    def runs(self, image, name="app"):
        """Runs `--running`; returns its exit code and its line."""
        command = [self.program, "--host", f"unix://{self.engine.socket}", "--running", name, self.at(image)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment()
        )
        expect(done.stderr == "" and done.stdout.count("\n") == 1, f"{done.stdout}{done.stderr}")
        return done.returncode, done.stdout

    def checks(self, image, *expected):
        """Runs `--check` without a platform, for this machine's and for the other one; these exit codes are expected."""
        own, other = f"linux/{self.arch}", f"linux/{self.other}"
        checked = [self.check(image), self.check(image, "--platform", own), self.check(image, "--platform", other)]
        checked += [self.check(image, env={"DOCKER_DEFAULT_PLATFORM": other})]
        expected = [*expected, expected[-1]]
        expect([code for code, _ in checked] == expected, f"not {expected}: {checked}")
        return checked

    @property
    def release(self):
        """The engine's release."""
        return int(re.search(r"\d+", self.version)[0])

    @property
    def reports_platforms(self):
        """Whether the engine reports which platforms of an index are local: the containerd store does since API 1.48."""
        return self.store != "containerd" or self.release >= 28

    def token(self, text):
        path = self.dir / "token"
        path.touch(mode=0o600)
        path.write_text(text)
        return "--token-file", path, "--token-user", "fleet"


def fresh(row, name):
    image = row.image(name)
    return row.pull(row.at(name)).pulled(image, len(set(image.layers)), fetched=image.layers)


@case("fresh, 1 layer")
def _(row):
    return fresh(row, "tiny:latest")


@case("fresh, 3 layers, slow")
def _(row):
    row.link.rate = 3 * MB
    image = row.image("three")
    pull = row.pull(row.at("three:latest"))
    bars = [int(found[1]) for line in pull.lines if (found := re.match(r"⬇️ .*\] (\d+)%", line))]
    expect(any(0 < percent < 100 for percent in bars), f"no bar in the middle: {bars}")
    expect(pull.sizes == ("equal" if row.kind != "podman" else None), f"the sizes are {pull.sizes}")
    return pull.pulled(image, 3, fetched=image.layers)


@case("fresh, 8 layers")
def _(row):
    return fresh(row, "eight:latest")


@case("the same layer twice")
def _(row):
    return fresh(row, "twice:latest")


@case("slow to unpack")
def _(row):
    return fresh(row, "zeros:latest")


@case("by digest")
def _(row):
    image = row.image("pinned")
    return row.pull(row.at(f"pinned@{image.digest}")).pulled(image, 2, fetched=image.layers)


@case("up to date")
def _(row):
    image = row.image("three")
    pull = row.pull(row.at("three:latest"))
    if row.kind == "podman":
        return pull.pulled(image, 3, cached=3)
    expect("📊 Status: Image is up to date for " in pull.out, "it does not say up to date")
    return pull.pulled(image, 0)


@case("cached: only the tag had gone")
def _(row):
    row.engine.tag(row.at("three:latest"), "kept", "1")
    row.engine.untag(row.at("three:latest"))
    expect(row.engine.inspect(row.at("three:latest")) is None, "it is still there")
    layers = 3 if row.kind == "podman" else 0
    return row.pull(row.at("three:latest")).pulled(row.image("three"), layers, cached=layers)


@case("cached: another image of the same layers")
def _(row):
    layers = 3 if row.names_cached else 0
    return row.pull(row.at("three:labelled")).pulled(row.image("three:labelled"), layers, cached=layers)


@case("partly cached: 2 of 3")
def _(row):
    image = row.image("three:v2")
    pull = row.pull(row.at("three:v2"))
    new = set(image.layers) - set(row.image("three").layers)
    return pull.pulled(image, *((3, 2) if row.names_cached else (1, 0)), fetched=new)


@case("unknown tag")
def _(row):
    return row.pull(row.at("three:missing")).failed(NOT_FOUND, "manifest unknown|not found")


@case("unknown repository")
def _(row):
    return row.pull(row.at("nothing/here")).failed(NOT_FOUND, "name unknown|manifest unknown|not found")


@case("private, no login")
def _(row):
    pull = row.pull(f"{row.private.address}/secret:latest")
    expect("⚠️  no credentials for" in pull.out, "it does not say that there were no credentials")
    return pull.failed(LOGIN, "no basic auth|unauthorized|authentication required")


@case("private, wrong login")
def _(row):
    pull = row.pull(f"{row.private.address}/secret:latest", *row.token("wrong"))
    expect("was asked as user fleet" in pull.out, "it does not say as whom it asked")
    return pull.failed(REFUSED_LOGIN, "unauthorized|authentication required")


@case("private, right login")
def _(row):
    image = row.image("secret")
    secret = (row.lab / "password").read_text().strip()
    pull = row.pull(f"{row.private.address}/secret:latest", *row.token(secret))
    for end in ("out", "log", "jsonl"):
        expect(secret not in pull.read(end), f"the password is in the {end}")
    return pull.pulled(image, 2, fetched=image.layers)


@case("index: own platform")
def _(row):
    return fresh(row, "multi:both")


@case("index: another platform, asked for")
def _(row):
    image = row.image("multi:again", row.other)
    pull = row.pull(row.at("multi:again"), "--platform", f"linux/{row.other}")
    return pull.pulled(image, 2, fetched=image.layers)


@case("index: own platform missing")
def _(row):
    reason = "no matching manifest|no match for platform|no image found"
    return row.pull(row.at("multi:foreign")).failed(PLATFORM, reason)


@case("one platform, another asked for")
def _(row):
    # Engines differ here, and the program must agree with its engine.
    pull = row.pull(row.at("odd:single"), "--platform", f"linux/{row.other}")
    if pull.exit == 0:
        return pull.pulled(row.image("odd:single"), 2, fetched=row.image("odd:single").layers)
    pull.refused(PLATFORM, "does not match the specified platform")
    return pull.outcome()


@case("a layer is missing in the registry")
def _(row):
    row.layer_file("odd:missing").unlink()
    return row.pull(row.at("odd:missing")).failed(DAMAGED, "unknown blob|not found|blob unknown")


@case("a layer is damaged in the registry")
def _(row):
    path = row.layer_file("odd:damaged")
    path.write_bytes(os.urandom(path.stat().st_size))
    return row.pull(row.at("odd:damaged")).failed(DAMAGED, "digest|verification|invalid header")


@case("--check before and after")
def _(row):
    # The first image has not been pulled, and the registry does not have the last one.
    codes = [row.check(image)[0] for image in ("long:back", "three:latest", "multi:both", "three:missing")]
    # Podman has no request for the registry's digest.
    expect(codes == ([3] * 4 if row.kind == "podman" else [1, 0, 0, 3]), f"exit codes {codes}")
    return "cannot tell" if row.kind == "podman" else ""


@docker_case("--check: only the other platform is here")
def _(row):
    row.pull(row.at("multi:checked"), "--platform", f"linux/{row.other}")
    # A pull would get this machine's platform. An engine that reports only one local platform does not report the others.
    unknown = 1 if row.reports_platforms else 3
    row.checks("multi:checked", unknown, unknown, 0)
    digest = row.image("multi:checked").digest
    checked = row.check(f"multi@{digest}", "--platform", f"linux/{row.arch}")
    expect(checked[0] == unknown, f"by digest: {checked}")


@docker_case("--check: both platforms under one tag")
def _(row):
    row.pull(row.at("multi:checked"))
    if row.store == "containerd":
        row.checks("multi:checked", 0, 0, 0 if row.reports_platforms else 3)
        return
    # The graphdriver keeps only the last platform, without its registry's digest.
    checked = row.checks("multi:checked", 3, 3, 1)
    names = row.at("multi:checked"), row.at(f"multi@{row.image('multi:checked').digest}")
    expect(f"docker image rm {' '.join(names)}" in checked[0][1], f"no cure: {checked[0]}")
    for name in names:
        row.engine.untag(name)
    row.pull(row.at("multi:checked"))
    row.checks("multi:checked", 0, 0, 1)


@docker_case("--check: arm/v7 asked of an index that has arm/v6")
def _(row):
    pull = row.pull(row.at("multi:v6"), "--platform", "linux/arm/v7")
    expect(pull.exit == 0, pull.reason)
    checked = row.check("multi:v6", "--platform", "linux/arm/v7")
    expect(checked[0] == 0, f"{checked}")


@docker_case("--check: one platform, another asked for")
def _(row):
    # An earlier case has pulled this image, with whatever result.
    checked = row.check("odd:single", "--platform", f"linux/{row.other}")
    expect(checked[0] == 0, f"{checked}")


@docker_case("requests: new, up to date, --check twice")
def _(row):
    index = "GET manifests"
    new = row.requests(lambda: row.pull(row.at("multi:asked"), "--sizes", "never"))
    base = [] if row.store == "containerd" else ["GET base"]
    # The requests for the index, the manifest, the configuration and two layers.
    expect(new == sorted(["HEAD manifests", index, index, *["GET blobs"] * 3, *base]), f"new: {new}")
    # A registry that counts pulls does not count a pull that finds nothing new.
    again = row.requests(lambda: row.pull(row.at("multi:asked")))
    expect(again == sorted(["HEAD manifests", *base]), f"up to date: {again}")
    for _ in range(2):
        check = row.requests(lambda: row.check("multi:asked"))
        expect(check == sorted(["HEAD manifests", index, "GET base"]), f"--check: {check}")


@docker_case("requests: the sizes")
def _(row):
    row.link.rate = 3 * MB
    new = row.requests(lambda: row.pull(row.at("multi:sized")))
    base, index = [] if row.store == "containerd" else ["GET base"], "GET manifests"
    # Two requests of the engine, and two of the agent.
    expect(new == sorted(["HEAD manifests", *[index] * 4, *["GET blobs"] * 3, *base]), f"new: {new}")
    # A pull that finds nothing new causes no other requests.
    again = row.requests(lambda: row.pull(row.at("multi:sized")))
    expect(again == sorted(["HEAD manifests", *base]), f"up to date: {again}")


@docker_case("what the engine reports of an image of the other platform")
def _(row):
    # The rules of `--check` and `--running` depend on these; this fails if an engine reports something else.
    name, other = row.at("multi:reported"), f"linux/{row.other}"
    row.pull(name, "--platform", other)
    row.pull(row.at("multi:v6"), "--platform", "linux/arm/v6")
    found = row.engine.inspect(name)
    index, (_, own, entry) = row.image("multi:reported").digest, row.entries("multi:reported")
    expect((found["Os"], found["Architecture"]) == ("linux", row.other), f"it is {found['Os']}/{found['Architecture']}")
    expect((found["Id"] == index) == (row.store == "containerd"), f"its id is {found['Id']}")
    platform = lambda os, arch, variant="": "?platform=" + urllib.parse.quote(
        json.dumps({"os": os, "architecture": arch} | ({"variant": variant} if variant else {}))
    )
    asked = {arch: row.engine.inspect(name, platform("linux", arch)) for arch in (row.arch, row.other)}
    if row.release < 28:
        # These engines ignore the parameter.
        expect(all(found and found["Id"] == image["Id"] for image in asked.values()), f"{asked}")
    else:
        expect(asked[row.arch] is None and asked[row.other], f"{asked}")
        if row.store == "containerd":
            expect(asked[row.other]["Id"] == asked[row.other]["Descriptor"]["digest"] == entry, f"{asked}, not {entry}")
        # Engines compare platforms loosely (what could run here) or strictly.
        loosely = row.engine.inspect(row.at("multi:v6"), platform("linux", "arm", "v7")) is not None
        expect(loosely == (row.store != "containerd"), f"arm/v7 finds arm/v6: {loosely}")
    manifests = row.engine.inspect(name, "?manifests=1").get("Manifests") or []
    manifests = {manifest["ID"]: manifest["Available"] for manifest in manifests if manifest["Kind"] == "image"}
    is_reported = row.store == "containerd" and row.release >= 28
    expect(manifests == ({own: False, entry: True} if is_reported else {}), f"{manifests}")


@docker_case("--check: one platform's entry alone is here, and another's is new")
def _(row):
    row.push_run("1", "1")
    pull = row.pull(row.at("run:latest"))
    expect(pull.exit == 0, pull.reason)
    expect(row.check("run:latest")[0] == 0, "it is not up to date at first")
    row.push_run("1", "2")
    expect(row.check("run:latest")[0] == 1, "a new index is not seen")
    pull = row.pull(row.at("run:latest"))
    expect(pull.exit == 0 and not pull.moved, f"{pull.reason} {pull.moved}")
    expect(row.check("run:latest")[0] == 0, "it is not up to date after a pull")


@case("--running: a container, a new entry of another platform, a new one of its own")
def _(row):
    row.push_run("1", "3")
    row.pull(row.at("run:latest"))
    expect(row.runs("run:latest")[0] == 1, "there is no container")
    body = {"Image": row.at("run:latest"), "HostConfig": {"NetworkMode": "none"}}
    row.engine.order("POST", "/containers/create?name=app", body)
    checked = row.runs("run:latest")
    expect(checked[0] == 1 and "does not run" in checked[1], f"it was made and not begun: {checked}")
    row.engine.order("POST", "/containers/app/start")
    try:
        checked = row.runs("run:latest")
        expect(checked[0] == 0, f"it runs: {checked}")
        row.push_run("1", "4")
        expect(row.pull(row.at("run:latest")).exit == 0, "a pull fails")
        checked = row.runs("run:latest")
        # The containerd store of Docker 26 keeps only the digest of the new index, and nothing of the previous one.
        is_unknown = row.store == "containerd" and row.release < 28
        expect(checked[0] == is_unknown, f"what it runs is as it was: {checked}")
        row.push_run("2", "4")
        checked = row.runs("run:latest")
        expect(checked[0] == is_unknown, f"nothing was pulled: {checked}")
        expect(row.pull(row.at("run:latest")).exit == 0, "a pull fails")
        checked = row.runs("run:latest")
        expect(checked[0] == 1, f"there is a new image: {checked}")
        checked = row.runs("tiny:latest")
        expect(checked[0] == 1, f"another image: {checked}")
    finally:
        row.engine.order("POST", "/containers/app/kill")
        row.engine.order("DELETE", "/containers/app?force=1")
    expect(row.runs("run:latest")[0] == 1, "it is gone")
    return "made anew for another's entry" if is_unknown else ""


@docker_case("ended by SIGTERM and pulled again")
def _(row):
    before = row.ended("left:ended")
    time.sleep(1)
    # The next numbers show what the store had kept; the first tenth of a second does not.
    row.link.rate = 5 * MB
    after = row.pull(row.at("left:ended")).fetched_share(row.image("left:ended"))
    # The containerd store continues the download.
    expect(before + after < 1.2 if row.store == "containerd" else after > 0.99, f"{before:.2f} and {after:.2f}")
    return f"{before:.2f} + {after:.2f} ×"


@docker_case("ended by SIGTERM, then docker image prune")
def _(row):
    before = row.ended("left:pruned")
    time.sleep(1)
    left = row.engine.unfinished()
    expect((left > 0) == (row.store == "containerd"), f"{left} bytes are left")
    row.engine.order("POST", "/images/prune")
    time.sleep(1)
    freed = left - row.engine.unfinished()
    # Docker 26 keeps them for eight hours.
    expect(freed == (left if row.release >= 28 else 0), f"{freed} bytes of {left} are free")
    row.link.rate = 5 * MB
    after = row.pull(row.at("left:pruned")).fetched_share(row.image("left:pruned"))
    expect((after > 0.99) == (freed == left), f"{before:.2f} and {after:.2f}")
    return f"{left / MB:.1f} MB left, {freed / MB:.1f} freed"


@docker_case("a connection is reset, and pulled again later")
def _(row):
    row.link.rate = 2 * MB
    image = row.image("left:late")
    pull = row.begin(row.at("left:late"), "--retries", "0")
    pull.until_half()
    row.link.reset()
    row.link.rate = 0
    row.end(pull)
    if row.store != "containerd":
        # The engine itself requests the remaining bytes.
        return f"{pull.fetched_share(image):.2f} ×"
    pull.failed(UNREACHABLE, "reset by peer|EOF")
    time.sleep(2)
    # By then the store has deleted the downloaded bytes, so the program retries at once.
    after = row.pull(row.at("left:late")).fetched_share(image)
    expect(after > 0.99, f"{after:.2f}")
    return f"{after:.2f} ×"


@docker_case("two pulls of one image at once")
def _(row):
    row.link.rate = 3 * MB
    image = row.image("left:two")
    first = row.begin(row.at("left:two"))
    first.until("⬇️")
    command = [row.program, "--host", f"unix://{row.engine.socket}", "--no-log", row.at("left:two")]
    second = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=row.environment(), timeout=LIMIT
    )
    row.end(first)
    summary = f"process {first.process.pid} is pulling this image already"
    expect(second.returncode == 0 and summary in second.stdout and "✅ PULL SUCCESSFUL" in second.stdout, second.stdout)
    share = first.fetched_share(image)
    expect(share < 1.1, f"{share:.2f} × transferred")


@case("an image for another machine")
def _(row):
    pull = row.pull(row.at("odd:elsewhere"))
    if pull.exit != 0:
        pull.refused(PLATFORM, "platform|no image found")
        return pull.outcome()
    warned = [line for line in pull.lines if line.startswith(f"⚠️  the image is for linux/{row.other}")]
    expect(len(warned) == 1, "no warning that it cannot run here")
    return "warned"


@docker_case("a connection is reset")
def _(row):
    shares = []
    # The containerd store deletes the downloaded bytes 0.1 to 0.4 s after the error. On a busy machine this may be before the
    # retry: rarely, and hardly ever twice in a row.
    for tag in ("reset", "reset-again"):
        row.link.rate = 2 * MB // 3
        image = row.image(f"long:{tag}")
        pull = row.begin(row.at(f"long:{tag}"))
        pull.until_half()
        # After five seconds of fetching the program knows the store. Before, it has to ask for it between error and retry.
        time.sleep(6)
        row.link.reset()
        pull.until("🔁")
        row.link.rate = 6 * MB
        row.end(pull)
        expect(("🔁 Retry 1/3 at once: " in pull.out) == (row.store == "containerd"), "a retry at once, or none")
        summary = pull.pulled(image, 3, fetched=image.layers)
        shares.append(pull.fetched_share(image))
        # The bytes that were downloaded before are not downloaded again.
        if shares[-1] <= 1.1:
            break
    expect(shares[-1] <= 1.1, f"{shares} × transferred")
    return f"{summary}, {' and '.join(f'{share:.2f}' for share in shares)} ×"


@case("registry killed")
def _(row):
    row.link.rate = 2 * MB
    pull = row.begin(row.at("long:lost"), "--retries", "0")
    pull.until_half()
    row.order("kill", "registry")
    row.link.down()
    try:
        summary = row.end(pull).failed(UNREACHABLE, "connection refused|reset by peer|EOF")
    finally:
        row.order("revive", "registry")
        row.link.rate = 0
        row.link.up()
    if row.kind == "podman":
        return summary
    # Nothing is kept, not even complete layers; the containerd store needs a moment to delete them.
    time.sleep(2)
    share = row.pull(row.at("long:lost")).fetched_share(row.image("long:lost"))
    expect(share > 0.99, f"{share:.2f} × transferred")
    return f"{summary}, then {share:.2f} ×"


@case("registry killed and revived")
def _(row):
    row.link.rate = 2 * MB
    image = row.image("long:revived")
    pull = row.begin(row.at("long:revived"))
    pull.until_half()
    row.order("kill", "registry")
    row.link.down()
    # The engine or the program retries.
    pull.until("retrying in ", "/3 in 5s: ")
    row.order("revive", "registry")
    row.link.rate = 0
    row.link.up()
    return row.end(pull).pulled(image, 3, fetched=image.layers)


@case("engine killed")
def _(row):
    row.link.rate = 2 * MB
    pull = row.begin(row.at("long:killed"), "--retries", "0")
    pull.until_half()
    row.engine.kill()
    return row.end(pull).failed(ENGINE, "the engine broke off")


@case("engine killed and back")
def _(row):
    row.link.rate = 2 * MB
    image = row.image("long:back")
    pull = row.begin(row.at("long:back"))
    pull.until_half()
    row.engine.kill()
    pull.until("🔁 Retry 1/3 in 5s: the engine broke off")
    before = row.link.carried
    row.link.rate = 0
    row.engine.start()
    summary = row.end(pull).pulled(image, 3, fetched=image.layers)
    size = sum(image.sizes.values())
    share = pull.carried / size
    # The containerd store continues the download.
    expect(row.kind == "podman" or (share < 1.15) == (row.store == "containerd"), f"{before / size:.2f} of {share:.2f} ×")
    return f"{summary}, {share:.2f} ×"


@docker_case("engine stopped by SIGTERM and back")
def _(row):
    row.link.rate = 3 * MB
    image = row.image("left:stopped")
    pull = row.begin(row.at("left:stopped"))
    pull.until_half()
    row.engine.stop()
    pull.until("🔁 Retry 1/3")
    row.link.rate = 0
    row.engine.start()
    row.end(pull)
    share = pull.fetched_share(image)
    expect(share < (1.15 if row.store == "containerd" else 2.1), f"{share:.2f} × transferred")
    return f"{share:.2f} ×"


# == The run ==

ROWS = [
    ("bookworm", "docker.io", ""),
    ("trixie", "docker.io", ""),
    ("trixie", "docker.io", "containerd"),
    ("sid", "docker.io", ""),
    ("sid", "docker.io", "containerd"),
    ("bookworm", "podman", ""),
    ("trixie", "podman", ""),
    ("sid", "podman", ""),
]


def work(row, cases, start, keep):
    """Runs the cases of a row; a failed case is reported with its log."""
    began = time.monotonic()
    try:
        row.start(*start)
        for name, function in cases:
            if STOP.is_set():
                return
            row.link.rate = row.private.rate = 0
            at, first = time.monotonic(), len(row.pulls)
            try:
                row.results[name] = ("ok", function(row) or "")
                print(f"{row.name}: {name}: {' '.join(row.results[name])} ({time.monotonic() - at:.1f} s)", flush=True)
            except Exception as error:
                text = str(error) if isinstance(error, Wrong) else traceback.format_exc()
                row.results[name] = ("WRONG", "")
                row.end_pulls()
                logs = "".join(pull.read("out") for pull in row.pulls[first:])
                print(f"-- {row.name}: {name}: WRONG: {text}\n{logs}--", flush=True)
                if not STOP.is_set() and not row.engine.answers():
                    row.engine.kill()
                    row.engine.start()
            found = {getattr(pull, "sizes", None) for pull in row.pulls[first:]}
            row.sizes[name] = next((word for word in ("equal", "known") if word in found), None)
            if keep:
                folder = keep / row.name.replace(" ", "-")
                folder.mkdir(parents=True, exist_ok=True)
                for pull in row.pulls[first:]:
                    for end in ("jsonl", "log"):
                        shutil.copy(pull.path(end), folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.{end}")
        print(f"{row.name}: {time.monotonic() - began:.0f} s", flush=True)
    except Exception:
        print(f"-- {row.name}: WRONG: {traceback.format_exc()}--", flush=True)
    finally:
        for name, _ in cases:
            row.results.setdefault(name, ("WRONG", ""))
        row.end_all()
        run(LAB, "stop", row.lab)


def table(rows, cases):
    def heading(row):
        parts = [row.version or row.kind, row.suite, f"{row.store} {row.driver}".strip()]
        return "<br>".join(filter(None, parts))

    def sizes(name):
        found = [row.sizes.get(name) for row in rows]
        counts = [(word, found.count(word)) for word in ("equal", "known")]
        return ", ".join(f"{word} {count}" for word, count in counts if count)

    print("\n| " + " | ".join(["", *map(heading, rows), "sizes"]) + " |")
    print("|---" * (len(rows) + 2) + "|")
    for name, _ in cases:
        cells = [" ".join(filter(None, row.results[name])) for row in rows]
        print("| " + " | ".join([name, *cells, sizes(name)]) + " |")


# The recordings of engines that were built from source; and the expected results, by what the engine had to do.
RECORDED = ["30.0.0-dev", "30.0.0-dev-containerd"]
OUTCOMES = {"fresh-3-layers-slow": 0, "slow-to-unpack": 0, "registry-killed-and-revived": 0, "private-no-login": 1, "engine-killed": 1}


def replayed(program):
    """Returns a table of the recordings (exit code, layers, whether the log is the same as beside it), and how many were wrong."""
    wrong = 0
    print("| | " + " | ".join(RECORDED) + " |")
    print("|---" * (len(RECORDED) + 1) + "|")
    with tempfile.TemporaryDirectory(prefix="engines-") as temporary:
        for case, outcome in OUTCOMES.items():
            cells = []
            for engine in RECORDED:
                stem, log = ROOT / f"fixtures/dockerd-{engine}/{case}", Path(temporary) / f"{engine}-{case}.log"
                arguments = [program, "--replay", stem.with_suffix(".jsonl"), "--log", log, "--quiet"]
                done = subprocess.run(arguments, env={"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC"}, capture_output=True, text=True)
                text = log.read_text()
                fine = done.returncode == outcome and text == stem.with_suffix(".log").read_text() and ("PULL SUCCESSFUL" in text) == (outcome == 0)
                wrong += not fine
                layers = re.findall(r"Layers: (\d+/\d+) completed", text)
                cells.append(" ".join(filter(None, ["ok" if fine else "WRONG", f"exit {done.returncode}", *layers[-1:]])))
            print(f"| {case.replace('-', ' ')} | " + " | ".join(cells) + " |")
    print(f"\n{date.today()}: {len(OUTCOMES) * len(RECORDED)} recordings, {wrong} wrong")
    return wrong


def main():
    parser = argparse.ArgumentParser(add_help=False, usage="tests/proofs/engines.py [OPTION]... (see --help)")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--rows", default="")
    parser.add_argument("--cases", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--replayed", action="store_true")
    options = parser.parse_args()
    if options.help:
        print(__doc__)
        return
    if options.replayed:
        with section.written("engines-replayed", is_markdown=True, is_whole=True):
            wrong = replayed((options.program or build()).resolve())
        sys.exit(1 if wrong else 0)
    if os.geteuid() != 0:
        sys.exit('engines.py: needs root, for engines of its own: sudo -E env "PATH=$PATH" tests/proofs/engines.py')
    if not options.program and not shutil.which("cargo"):
        sys.exit("engines.py: no cargo on PATH: --program FILE names an executable that is built")
    for pattern in (options.rows, options.cases):
        try:
            re.compile(pattern)
        except re.error as error:
            sys.exit(f"engines.py: {pattern!r} is no regular expression: {error}")
    rows = [row for row in ROWS if re.search(options.rows, " ".join(filter(None, row)))]
    cases = [case for case in CASES if re.search(options.cases, case[0])]
    if not rows or not cases:
        sys.exit("engines.py: no such row or case")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="engines-") as temporary:
        temporary = Path(temporary)
        cache = (options.cache or temporary / "systems").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        program = (options.program or build()).resolve()
        run(LAB, "install", "debootstrap")
        rows = [Row(*row, program) for row in rows]
        try:
            run(LAB, "start", temporary / "lab")
            env = dict(line.split("=", 1) for line in (temporary / "lab/env").read_text().splitlines())
            arch = run("dpkg", "--print-architecture").strip()
            other = push_images(Registry(env["REGISTRY"]), arch)
            program_layer = waits(temporary)
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                try:
                    suites = {row.suite: pool.submit(system, row.suite, cache) for row in rows}
                    roots = {suite: future.result() for suite, future in suites.items()}
                    print(f"systems: {time.monotonic() - began:.0f} s", flush=True)
                    futures = []
                    for number, row in enumerate(rows):
                        start = (temporary / "lab", temporary / str(number), roots[row.suite], arch, other, program_layer)
                        futures.append(pool.submit(work, row, cases, start, options.keep))
                    for future in futures:
                        future.result()
                except BaseException:
                    STOP.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    for child in list(CHILDREN):
                        child.terminate()
                    for row in rows:
                        row.end_all()
                    raise
        finally:
            run(LAB, "stop", temporary / "lab")
    wrong = sum(kind == "WRONG" for row in rows for kind, _ in row.results.values())
    count = len(rows) * len(cases)
    with section.written("engines", is_markdown=True, is_whole=(len(rows), len(cases)) == (len(ROWS), len(CASES))):
        table(rows, cases)
        print(f"\n{date.today()}: {count} cases, {wrong} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
