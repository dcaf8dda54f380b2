#!/usr/bin/env python3
"""Thousands of pulls in a row, and long ones: memory, open files and files left behind must not grow.

    tests/proofs/soak.py          10,000 replays, 300 pulls from a private engine, the events of an hour in one pull that is
                                  interrupted four times, alm pull -f through 200 rotations: 5 minutes or more
    tests/proofs/soak.py short    a part of each, in about a minute

Needs root, for the engine: sudo -E env "PATH=$PATH" tests/proofs/soak.py

Each part prints a row of figures. They must not rise by more than 5 % over the row (memory), or not at all (files). Installs
missing packages for the engine (tests/lab/lab.sh). PULL=/path/of/docker-pull-with-progress uses that program instead of building
one. WRITE=1 puts the greatest rises into the README.md here.
"""

import ctypes, glob, math, os, select, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

sys.dont_write_bytecode = True
import section

SHORT = sys.argv[1:] == ["short"]
REPLAYS, PULLS, EVENTS, BREAKS, ROTATIONS = (500, 12, 40_000, 1, 40) if SHORT else (10_000, 300, 288_000, 4, 200)
LINES = 1_000  # of the log between two rotations
MAX_RISE = 5  # percent
LIMIT = 180  # seconds for any pull
NAME = "docker-pull-with-progress"
ROOT = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")
LAB = f"{ROOT}/tests/lab/lab.sh"

PTRACE_TRACEME, PTRACE_CONT, PTRACE_SETOPTIONS = 0, 7, 0x4200
TRACEEXIT, EXITKILL, EVENT_EXIT = 0x40, 0x100000, 6

wrong = []
# The greatest rise of each kind of figure, in percent.
rises = {MAX_RISE: 0.0, 0: 0.0}


def flat(name, values, max_rise):
    """Prints a row of figures and checks that it is flat: its regression line must not rise by more than so many percent.

    Returns the slope: the rise from one value to the next."""
    if len(values) < 2:
        must(False, f"{name}: {len(values)} values are too few to tell")
        return 0.0
    middle = statistics.median(values)
    slope = statistics.linear_regression(range(len(values)), values).slope if len(set(values)) > 1 else 0.0
    rise = 100 * slope * (len(values) - 1) / middle
    print(f"{name:42} n {len(values):6}  min {min(values):6}  median {middle:8.1f}  max {max(values):6}", end="")
    print(f"  slope {1000 * slope:+9.3f} per 1000  rise {rise:+6.2f} %", flush=True)
    if max_rise in rises:
        rises[max_rise] = max(rises[max_rise], rise)
    if rise > max_rise:
        wrong.append(f"{name}: rises by {rise:.2f} %")
    if max_rise == 0 and max(values[len(values) // 2 :]) > max(values[: len(values) // 2]):
        wrong.append(f"{name}: a second half higher than the first")
    return slope


def must(holds, text):
    if not holds:
        wrong.append(text)
        print(f"WRONG: {text}", flush=True)


def sample(pid):
    """Peak memory in KB and open files of a process."""
    status = open(f"/proc/{pid}/status").read()
    return int(status.split("VmHWM:")[1].split()[0]), len(os.listdir(f"/proc/{pid}/fd"))


def expire(*_):
    raise TimeoutError(f"nothing ends after {LIMIT} s")


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, data=0):
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def watch(command, environment):
    """Runs a program; returns its exit code, peak memory and open files. They are read while ptrace stops it at its exit,
    because the peak that wait() returns includes that of the parent before exec."""
    pid = os.fork()
    if pid == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 256)
        ptrace(PTRACE_TRACEME, 0)
        os.execve(command[0], command, environment)
    signal.alarm(LIMIT)
    os.waitpid(pid, 0)
    ptrace(PTRACE_SETOPTIONS, pid, TRACEEXIT | EXITKILL)
    found, pass_on = None, 0
    while True:
        ptrace(PTRACE_CONT, pid, pass_on)
        _, status = os.waitpid(pid, 0)
        pass_on = 0
        if not os.WIFSTOPPED(status):
            break
        if status >> 16 == EVENT_EXIT:
            found = sample(pid)
        else:
            pass_on = os.WSTOPSIG(status)
    signal.alarm(0)
    return (os.waitstatus_to_exitcode(status), *found)


def rotate(log):
    if os.path.exists(log):
        os.replace(log, log + ".1")


def left(kind):
    return sorted(glob.glob(kind))


def replays(program, directory, environment):
    """Replays all recordings of the fixtures in turn, into one log."""
    recordings = left(f"{ROOT}/fixtures/*/*.jsonl")
    log, exits, rows = f"{directory}/replay.log", {}, []
    for number in range(REPLAYS):
        if number % 1000 == 0:
            rotate(log)
        recording = recordings[number % len(recordings)]
        code, *row = watch([program, "--replay", recording, "--log", log], environment)
        rows.append(row)
        must(exits.setdefault(recording, code) == code, f"{recording}: exit {code}, and before {exits[recording]}")
    # An incomplete turn would have another mean, and so a slope.
    rows = rows[: len(rows) // len(recordings) * len(recordings)]
    for what, values, rise in zip(("peak memory (KB)", "open files at the end"), zip(*rows), (MAX_RISE, 0)):
        flat(f"replays: {what}", values, rise)


def pulls(program, directory, environment):
    """Pulls from a private engine; each image is removed before it is pulled again."""
    lab = f"{directory}/lab"
    subprocess.run([LAB, "start", lab], check=True)
    try:
        lines = (line.strip().split("=", 1) for line in open(f"{lab}/env"))
        found = dict(lines)
        host, engine = f"unix://{found['ENGINE_SOCKET']}", found["ENGINE_PID"]
        registry = open(f"{lab}/registry.pid").read().split()[0]
        images = [f"{found['REGISTRY']}/{name}" for name in ("tiny:latest", "three:latest", "three:v2")]
        docker = ["docker", "-H", host]
        rows, log = [], f"{directory}/pull.log"
        environment = environment | {"DOCKER_CONFIG": f"{lab}/config", "TMPDIR": f"{directory}/tmp"}
        os.mkdir(environment["TMPDIR"])
        for number in range(PULLS):
            image = images[number % len(images)]
            code, *row = watch([program, "--host", host, "--log", log, image], environment)
            must(code == 0, f"pull {number} of {image}: exit {code}")
            subprocess.run([*docker, "rmi", image], check=True, stdout=subprocess.DEVNULL)
            # A connection is closed only after the other side has noticed the end.
            connected = 1
            for _ in range(100):
                connected = sum(found["ENGINE_SOCKET"] in line for line in open("/proc/net/unix"))
                if connected == 1:
                    break
                time.sleep(0.05)
            rows.append((*row, connected, *(len(os.listdir(f"/proc/{pid}/fd")) for pid in (engine, registry))))
        names = ("peak memory (KB)", "open files at the end", "sockets of the engine afterwards")
        columns = list(zip(*rows))
        for name, values, rise in zip(names, columns, (MAX_RISE, 0, 0)):
            flat(f"pulls: {name}", values, rise)
        # Engine and registry keep a varying number of connections to each other open; a leak would be one or more per pull.
        for name, values in zip(("engine", "registry"), columns[3:]):
            more = flat(f"pulls: open files of the {name}", values, math.inf)
            must(more < 0.5, f"the {name} keeps {more:.2f} more open files with each pull")
        # One lock for each image stays. The names contain this registry's port, so no other test uses them.
        locks = left(f"/run/alm/lock/{found['REGISTRY'].replace(':', '_')}_*")
        must(len(locks) == len(images), f"lock files: {locks}")
        must(not os.listdir(environment["TMPDIR"]), f"temporary files: {os.listdir(environment['TMPDIR'])}")
        with open(log) as text:
            count = text.read().count("PULL SUCCESSFUL")
        must(count == PULLS, f"{count} successes in the log of {PULLS} pulls")
        for path in locks:
            os.remove(path)
    finally:
        subprocess.run([LAB, "stop", lab], check=True)


def chunk(line):
    return b"%x\r\n%s\r\n\r\n" % (len(line) + 2, line)


PROGRESS = b'{"status":"Downloading","progressDetail":{"current":%d,"total":500000000},"progress":"[> ]","id":"%s"}'
RETRYING = b'{"status":"Retrying in 5 seconds","progressDetail":{},"id":"%s"}'
COMPLETE = b'{"status":"Pull complete","progressDetail":{"hidecounts":true},"id":"%s"}'
PONG = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


def long_pull(program, directory, environment):
    """One pull from an engine that ends its answer again and again; figures are taken while events arrive."""
    path, log, image = f"{directory}/engine.sock", f"{directory}/long.log", f"127.0.0.1:5000/soak{os.getpid()}:1"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ids, each, rows = [b"%012x" % (n * 0x1D872B41E5) for n in range(1, 9)], EVENTS // (BREAKS + 1), []
    started = threading.Event()

    def attempt(client, is_last):
        send = lambda *lines: client.sendall(b"".join(map(chunk, lines)))
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        send(b'{"status":"Pulling from soak","id":"1"}')
        send(*(b'{"status":"Pulling fs layer","progressDetail":{},"id":"%s"}' % id for id in ids))
        # The mark of the store that keeps incomplete layers: with it the program tries again.
        send(b'{"status":"Download complete","progressDetail":{"hidecounts":true},"id":"c0ff1g"}')
        for second in range(each // 80):
            current = 500_000_000 * second // (each // 80)
            send(*(PROGRESS % (current, id) for id in ids * 10))
            if second % 40 == 0:
                send(*(RETRYING % id for id in ids))
                send(b'{"status":"Not known to anyone %d"}' % second)
            if second % 10 == 0:
                started.wait()
                rows.append(sample(process.pid))
        if is_last:
            send(*(COMPLETE % id for id in ids), b'{"status":"Status: Downloaded newer image for soak:1"}')
            client.sendall(b"0\r\n\r\n")

    def serve():
        pulls = 0
        while True:
            client, _ = listener.accept()
            request = b""
            while b"\r\n\r\n" not in request and (more := client.recv(4096)):
                request += more
            if b"/images/create?" in request:
                pulls += 1
                attempt(client, pulls > BREAKS)
            else:
                client.sendall(PONG)
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    command = [program, "--host", f"unix://{path}", "--log", log, "--record", f"{directory}/long.rec"]
    command += ["--retries", str(BREAKS), image]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        started.set()
        try:
            code, end = None, time.monotonic() + LIMIT * 3
            while (code := process.poll()) is None and time.monotonic() < end:
                time.sleep(1)
                rotate(log)
        finally:
            process.kill()
    must(code == 0, f"the long pull: exit {code}")
    must(len(rows) >= EVENTS // 80 // 10, f"the long pull was sampled {len(rows)} times only")
    settled = rows[len(rows) // 10 :]
    flat(f"long pull, {BREAKS} breaks: peak memory (KB)", [row[0] for row in settled], MAX_RISE)
    flat(f"long pull, {BREAKS} breaks: open files", [row[1] for row in settled], 0)
    for lock in left(f"/run/alm/lock/*soak{os.getpid()}_*"):
        os.remove(lock)


def follow(program, directory, environment):
    """alm pull -f while the log grows and is rotated: every line is shown once and in order."""
    log, rows, files = f"{directory}/followed.log", [], []
    open(log, "w").close()
    command = [program, "--view", "-f", "-n", "0", "--log", log]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            for rotation in range(ROTATIONS):
                first = rotation * LINES
                # At the beginning the viewer may not follow the log yet.
                with open(log, "a") as to:
                    if rotation == 0:
                        signal.alarm(LIMIT)
                        while not started_to_follow(process, to):
                            pass
                    for number in range(first, first + LINES):
                        print(f"[2026-01-01 00:00:00] line {number} of the log", file=to)
                for number in range(first, first + LINES):
                    signal.alarm(LIMIT)
                    line = process.stdout.readline()
                    while "to begin with" in line:
                        line = process.stdout.readline()
                    must(line.endswith(f"] line {number} of the log\n"), f"alm pull -f: {line!r}, not line {number}")
                rows.append(sample(process.pid)[0])
                rotate(log)
                open(log, "w").close()
                # It keeps a deleted file open for two seconds, because a writer may still append to it.
                if rotation % 10 == 9:
                    end = time.monotonic() + LIMIT
                    while time.monotonic() < end and files and sample(process.pid)[1] > files[0]:
                        time.sleep(0.1)
                    time.sleep(0 if files else 4)
                    files.append(sample(process.pid)[1])
            signal.alarm(0)
        finally:
            process.terminate()
    must(process.returncode == 143, f"alm pull -f: exit {process.returncode}")
    flat(f"alm pull -f, {LINES * ROTATIONS} lines: peak memory (KB)", rows[len(rows) // 10 :], MAX_RISE)
    flat(f"alm pull -f, {ROTATIONS} rotations: open files", files, 0)


def started_to_follow(process, to):
    """Waits until a line that is written now is shown; earlier lines may be missing."""
    print("[2026-01-01 00:00:00] to begin with", file=to, flush=True)
    return bool(select.select([process.stdout], [], [], 0.2)[0])


def main():
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    if sys.argv[1:] not in ([], ["short"]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    if os.geteuid() != 0:
        sys.exit('soak.py: needs root, for an engine of its own: sudo -E env "PATH=$PATH" tests/proofs/soak.py')
    program = os.environ.get("PULL")
    if program and not os.access(program, os.X_OK):
        sys.exit(f"soak.py: PULL={program} is no program that can be run")
    if not program and not shutil.which("cargo"):
        sys.exit("soak.py: no cargo on PATH: PULL=/path/of/docker-pull-with-progress names a program that is built")
    signal.signal(signal.SIGALRM, expire)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run([LAB, "install"], check=True)
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", "target")
        program = os.path.join(ROOT, target, "release", NAME)
    directory = tempfile.mkdtemp(prefix="soak", dir="/tmp")
    environment = {"PATH": directory, "HOME": directory, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    try:
        for part in (replays, follow, long_pull, pulls):
            began = time.monotonic()
            part(os.path.realpath(program), directory, environment)
            print(f"{part.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        print("\n".join(wrong) or "all flat")
        with section.written("soak", is_markdown=True, is_whole=not SHORT):
            memory, files = (rises[kind] for kind in (MAX_RISE, 0))
            files = f"by {files:.1f} %" if files > 0 else "not at all"
            print(f"Memory rose by {memory:.1f} % at most over a row, open files {files}.")
            if wrong:
                print(f"Wrong: {'; '.join(wrong)}.")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if wrong else 0)


main()
