#!/usr/bin/env python3
"""How long things take that somebody waits for, and what a pull and the monitor cost meanwhile.

    tests/proofs/moments.py    less than two minutes; as root also the monitor, on a console of the kernel (/dev/ttyNUMBER, CONSOLE=57)

An engine of this script's own sends events at moments that fit no clock of the program. Times are wall times, so on a busy
machine they are longer than they need to be; a row that misses its budget fails. PULL names the executable; the budgets are those
of the static one. WRITE=1 puts the table into README.md here.
"""

import fcntl, glob, json, os, pty, select, signal, socket, statistics, struct, subprocess, sys, tempfile, termios, threading, time

sys.dont_write_bytecode = True
import section

ROOT = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")
PONG = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
TOTAL = 1_000_000_000
rows, missed = [], []


def row(what, budget, unit, values):
    worst = max(values)
    missed.extend([what] if worst > budget else [])
    rows.append(f"| {what} | {budget:g} {unit} | {statistics.median(values):.3g} {unit} | {worst:.3g} {unit} | {'missed' if worst > budget else 'met'} |")


class Engine:
    """Knows one pull; `send` gives it another event."""

    def __init__(self, path):
        self.listener, self.client = socket.socket(socket.AF_UNIX), None
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            request = b""
            while b"\r\n\r\n" not in request and (more := client.recv(4096)):
                request += more
            if b"/images/create?" in request:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
                self.client = client
                self.send({"status": "Pulling from a", "id": "1"})
                self.send({"status": "Pulling fs layer", "progressDetail": {}, "id": "b5a0d1a0b112"})
            else:
                client.sendall(PONG)
                client.close()

    def send(self, event):
        line = json.dumps(event).encode() + b"\r\n"
        self.client.sendall(b"%x\r\n%s\r\n" % (len(line), line))

    def moved(self, current):
        self.send({"status": "Downloading", "progressDetail": {"current": current, "total": TOTAL}, "id": "b5a0d1a0b112"})


def until(what, limit=10):
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            sys.exit("moments.py: nothing comes within 10 seconds")
        time.sleep(0.001)


def first_lines(program, environment):
    found = []
    for _ in range(31):
        began = time.monotonic()
        with subprocess.Popen([program, "--replay", f"{ROOT}/fixtures/dockerd-20.10.24/fresh-three.jsonl"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            os.read(child.stdout.fileno(), 1)
            found.append(1e3 * (time.monotonic() - began))
            child.stdout.read()
    # The shortest counts: what others take longer is the machine's, which may be busy.
    row("start to first line, the shortest of 31", 2, "ms", [min(found)])


def in_a_pull(program, environment, at):
    screen, ends, memory, drawn, stated = bytearray(), [], [], [], []
    for number in range(5):
        engine = Engine(f"{at}/engine{number}")
        state = f"{at}/state{number}"
        os.mkdir(state)
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [program, "--host", f"unix://{at}/engine{number}", "--no-log", "--state", state, "--sizes", "never", f"127.0.0.1:5000/moments{os.getpid()}:1"]
        child = subprocess.Popen(command, env=environment | {"TERM": "xterm"}, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
        os.close(slave)
        until(lambda: engine.client)

        def read():
            while select.select([master], [], [], 0)[0]:
                screen.extend(os.read(master, 65536))

        for step in range(1, 9):
            percent = step * 11
            time.sleep(0.731)
            read()
            screen.clear()
            began, shown, written = time.monotonic(), None, None
            engine.moved(TOTAL // 100 * percent)

            def both():
                nonlocal shown, written
                read()
                if shown is None and f"{TOTAL // 100 * percent // 1_000_000}MB".encode() in screen:
                    shown = time.monotonic() - began
                if written is None and any(f'"current":{TOTAL // 100 * percent}' in open(file).read() for file in glob.glob(f"{state}/*.json")):
                    written = time.monotonic() - began
                return shown is not None and written is not None

            until(both)
            drawn.append(shown)
            stated.append(written)
        memory.append(int(open(f"/proc/{child.pid}/status").read().split("VmHWM:")[1].split()[0]) * 1.024)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        drain = threading.Thread(target=lambda: drain_all(master), daemon=True)
        drain.start()
        child.wait()
        ends.append(1e3 * (time.monotonic() - began))
        if child.returncode != 143:
            missed.append(f"SIGTERM: exit {child.returncode}")
    row("from the engine's event to the screen", 0.25, "s", drawn)
    row("from the engine's event to the state file", 1, "s", stated)
    row("SIGTERM in a pull to exit", 100, "ms", ends)
    row("peak memory of these pulls", 640, "KB", memory)


def unwatched(program, environment, at):
    """A pull without a terminal, whose state is all that anybody sees: events all the time, each a little further."""
    engine, state = Engine(f"{at}/unwatched"), f"{at}/unwatched.state"
    os.mkdir(state)
    command = [program, "--host", f"unix://{at}/unwatched", "--no-log", "--state", state, "--sizes", "never", f"127.0.0.1:5000/moments{os.getpid()}:3"]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: engine.client)
        sent, late, current, end = [], [], 0, time.monotonic() + 20
        next_event = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= next_event:
                next_event, current = now + 0.007, current + 100_000
                sent.append((now, current))
                engine.moved(current)
            shown = max((json.load(open(file)).get("current", 0) for file in glob.glob(f"{state}/*.json")), default=0)
            late += [time.monotonic() - moment for moment, size in sent if size <= shown]
            sent = [(moment, size) for moment, size in sent if size > shown]
            time.sleep(0.002)
        row("from the engine's event to the state file, of a pull that nobody watches", 1, "s", late)
    finally:
        child.kill()
        child.wait()


def drain_all(master):
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


def monitor(program, environment, at):
    console = f"/dev/tty{os.environ.get('CONSOLE', '57')}"
    if os.geteuid() != 0 or not os.path.exists(console):
        rows.append(f"| screen on a console: CPU while pulling | 1 % | not measured: needs root and {console} | | |")
        return
    # As large as a screen of 1920×1080 is; such a console is as good as one that is seen.
    with open(console, "rb") as screen:
        before_it = fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 67, 240, 0, 0))
    engine, state = Engine(f"{at}/monitored"), f"{at}/monitored.state"
    os.mkdir(state)
    pull = subprocess.Popen([program, "--host", f"unix://{at}/monitored", "--no-log", "--quiet", "--state", state, "--sizes", "never", f"127.0.0.1:5000/moments{os.getpid()}:2"],
                            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shows = subprocess.Popen([program, "--status", "--monitor", console, "--state", state], env=environment, stdin=subprocess.DEVNULL)
    try:
        until(lambda: engine.client)
        with open(console, "rb") as screen:
            lines, columns = struct.unpack("HHHH", fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8)))[:2]
        busy = lambda: int(open(f"/proc/{shows.pid}/schedstat").read().split()[0]) / 1e9
        time.sleep(1)
        began, before = time.monotonic(), busy()
        for step in range(200):
            engine.send({"status": "Downloading", "progressDetail": {"current": TOTAL // 200 * step, "total": TOTAL}, "id": "b5a0d1a0b112"})
            time.sleep(0.1)
        row(f"screen on a console, {columns}×{lines}: CPU of the monitor while pulling", 1, "%", [100 * (busy() - before) / (time.monotonic() - began)])
    finally:
        for child in pull, shows:
            child.terminate()
            child.wait()
        with open(console, "rb") as screen:
            fcntl.ioctl(screen, termios.TIOCSWINSZ, before_it)


def main():
    if sys.argv[1:]:
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    program = os.environ.get("PULL")
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "docker-pull-with-progress"], cwd=ROOT, check=True)
        program = f"{os.environ.get('CARGO_TARGET_DIR', ROOT + '/target')}/release/docker-pull-with-progress"
    program = os.path.realpath(program)
    with tempfile.TemporaryDirectory(prefix="moments") as at, section.written("moments", is_markdown=True, is_whole=True):
        environment = {"PATH": "/usr/bin:/bin", "HOME": at, "LC_ALL": "C.UTF-8"}
        for part in (lambda: first_lines(program, environment), lambda: in_a_pull(program, environment, at), lambda: unwatched(program, environment, at), lambda: monitor(program, environment, at)):
            part()
        for lock in glob.glob(f"/run/alm/lock/*moments{os.getpid()}_*"):
            os.remove(lock)
        print("| what | budget | median | worst | |\n|---|---|---|---|---|")
        print("\n".join(rows))
        print(f"\n{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}, {os.path.getsize(program) / 1000:.0f} KB executable")
    sys.exit(1 if missed else 0)


main()
