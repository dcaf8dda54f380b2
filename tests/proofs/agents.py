#!/usr/bin/env python3
"""What alm-agent costs a device and its broker, in figures.

    tests/proofs/agents.py [N]    one agent beside mosquitto_pub and an agent in Python (paho-mqtt of PyPI), idle and while an
                                  image is pulled; then N agents (default 200) on one mosquitto, and all of them coming back to a
                                  broker that was killed and emptied, at once and after an outage: a quarter of an hour

AGENT=/path/of/alm-agent measures that program, as the static one in dist/; else one is built. WRITE=1 puts the tables into README.md
here. Fails where a budget is not kept: resident 3,500 KB, CPU idle 0.1 %, all back within a minute of a
short restart, within 330 seconds of an outage.
"""

import glob, os, re, shutil, signal, subprocess, sys, tempfile, threading, time

# The imported modules beside this file must not leave a __pycache__ there.
sys.dont_write_bytecode = True
import broker as lab
import section

PAHO = "paho-mqtt==2.1.0"
# KB (1,000 bytes); percent of a core; seconds.
BUDGET_MEMORY, BUDGET_CPU, BUDGET_BACK, BUDGET_AFTER_OUTAGE = 3500, 0.1, 60, 330
# Seconds. Longer than the windows before the longest one together, so that nearly all agents wait in that.
OUTAGE = 400

# A minimal agent for comparison: it checks the file every half second, and publishes changes.
PAHO_AGENT = """
import json, os, sys, time
import paho.mqtt.client as mqtt
port, ca, cert, key, root, name, states = sys.argv[1:]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
client.tls_set(ca, cert, key)
client.will_set(f"{root}/{name}/online", "offline", 1, True)
client.on_connect = lambda *_: client.publish(f"{root}/{name}/online", "online", 1, True)
client.connect("localhost", int(port), 120)
client.loop_start()
published = None
while True:
    stamps = sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(states) if entry.name.endswith(".json"))
    if stamps != published:
        published = stamps
        images = [json.load(open(f"{states}/{file}")) for file, _ in stamps]
        client.publish(f"{root}/{name}/state", json.dumps({"v": 1, "device": name, "images": images}), 1, True)
    time.sleep(0.5)
"""


def busy(pid):
    """Seconds of CPU of all threads, to the nanosecond: a clock tick is more than an idle agent uses in a minute."""
    total = 0
    for file in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(file) as counts:
                total += int(counts.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def kilobytes(pid, name):
    """In the unit of the budgets: 1,000 bytes."""
    return round(lab.figure(pid, name) * 1.024)


def percent(pids, seconds):
    before = [busy(pid) for pid in pids]
    time.sleep(seconds)
    return [100 * (busy(pid) - start) / seconds for pid, start in zip(pids, before)]


def socket_counts(pid):
    """The kernel's counters of the process's only connection: bytes of TLS and segments, in both directions."""
    shown = lab.run("ss", "-tinpH", "state", "established").stdout
    lines = shown.splitlines()
    at = next(number for number, line in enumerate(lines) if f"pid={pid}," in line)
    count = lambda name: int((re.search(rf"\b{name}:(\d+)", lines[at + 1]) or [0, 0])[1])
    return [count(name) for name in ("bytes_sent", "bytes_received", "segs_out", "segs_in")]


def beside(broker, at):
    """One agent of each kind, at the same time with the same broker."""
    for name in "pi-roots", "pi-pub", "pi-paho":
        broker.authority.issue(name)
    credentials = lambda name: [broker.authority.ca, f"{broker.authority.at}/{name}.pem", f"{broker.authority.at}/{name}.key"]
    agent = lab.Agent(at, broker, "pi-1")
    # Without --ca it loads all CAs of the system, among them the fleet's.
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    with open(f"{at}/bundle.pem", "wb") as out:
        for file in bundle, broker.authority.ca:
            out.write(open(file, "rb").read())
    roots = lab.Agent(at, broker, "pi-roots", wait=False)
    place = roots.arguments.index("--ca")
    del roots.arguments[place : place + 2]
    roots.process = lab.begin(roots.arguments, stdin=subprocess.DEVNULL, stderr=open(roots.log, "ab"), env={"SSL_CERT_FILE": f"{at}/bundle.pem"})
    ca, cert, key = credentials("pi-pub")
    pub = lab.begin(["mosquitto_pub", "-h", "localhost", "-p", str(broker.port), "--cafile", ca, "--cert", cert, "--key", key, "-V", "5", "-k", "120",
                     "-q", "1", "-r", "-l", "-t", f"{lab.TOPIC}/pi-pub/state"], stdin=subprocess.PIPE, text=True)
    library = f"{at}/paho"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--target", library, PAHO], check=True)
    states = f"{at}/pi-paho.state"
    os.mkdir(states)
    with open(f"{at}/agent.py", "w") as file:
        file.write(PAHO_AGENT)
    paho = lab.begin([sys.executable, f"{at}/agent.py", str(broker.port), *credentials("pi-paho"), lab.TOPIC, "pi-paho", states], env={"PYTHONPATH": library})
    directories = [agent.state, roots.state, states]

    def publish(state):
        for directory in directories:
            lab.write_state(directory, state)
        pub.stdin.write(lab.json.dumps({"v": 1, "device": "pi-pub", "images": [state]}) + "\n")
        pub.stdin.flush()

    publish(lab.image("app:1", digest="sha256:1"))
    watch = lab.Watch(broker)
    names = ["pi-1", "pi-roots", "pi-pub", "pi-paho"]
    budget(lab.until(lambda: all(watch.state(name).get("images") for name in names)), "all four agents have published their state")
    pids = [agent.process.pid, roots.process.pid, pub.pid, paho.pid]
    time.sleep(2)
    first = socket_counts(pids[0])
    # A ping is sent every 120 seconds.
    idle = percent(pids, 125)
    counts = [now - then for now, then in zip(socket_counts(pids[0]), first)]
    resident, own = ([kilobytes(pid, name) for pid in pids] for name in ("VmRSS", "RssAnon"))
    is_pulling = True

    def pull():
        second = 0
        while is_pulling:
            second += 1
            publish(lab.working("app:1", second * 10))
            time.sleep(1)

    puller = threading.Thread(target=pull, daemon=True)
    puller.start()
    pulling = percent(pids, 30)
    is_pulling = False
    puller.join()
    peak = [kilobytes(pid, "VmHWM") for pid in pids]
    print("| | resident, idle, KB | of these its own | at most, with a pull | CPU idle | CPU while pulling |\n|---|---|---|---|---|---|")
    for row in zip([f"alm-agent {kind()}, `--ca FILE`", "the same, all the system's authorities", "`mosquitto_pub -l` (is told what to publish)", f"Python, {PAHO}"],
                   resident, own, peak, idle, pulling):
        print("| {} | {:,} | {:,} | {:,} | {:.3f} % | {:.2f} % |".format(*row))
    print(f"\nThe connection to the broker, in the 125 s of that, with one ping, by the kernel's count: {counts[0]} bytes sent, {counts[1]} received, in "
          f"{counts[2]} and {counts[3]} segments.")
    budget(max(resident[:2]) <= BUDGET_MEMORY, f"resident {max(resident[:2])} KB of {BUDGET_MEMORY}")
    budget(max(idle[:2]) <= BUDGET_CPU, f"CPU idle {max(idle[:2]):.3f} % of {BUDGET_CPU}")
    budget(0 < counts[0] < 200 and 0 < counts[1] < 200, f"one ping and nothing else: {counts}")
    for process in agent.process, roots.process, pub, paho:
        process.kill()
        process.wait()


def budget(holds, text):
    """Like must(), but on stderr, so that it is not part of the text for the README."""
    print(f"{'ok   ' if holds else 'WRONG'} {text}", file=sys.stderr, flush=True)
    if not holds:
        lab.wrong.append(text)


def kind():
    linked = lab.run("readelf", "-lW", lab.AGENT).stdout
    return "linked with glibc" if "INTERP" in linked else "static"


def many(broker, at, count):
    names = [f"pi-{number:05}" for number in range(count)]
    agents = []
    for name in names:
        broker.authority.issue(name)
        agent = lab.Agent(at, broker, name, wait=False)
        agent.write(lab.image("app:1", digest="sha256:1"))
        agent.write(lab.image("web:2", "Error", "Failed", kind="disk-full", details="no space left on device"))
        agents.append(agent)
    watch = lab.Watch(broker)
    empty = kilobytes(broker.process.pid, "VmRSS")
    before, started = busy(broker.process.pid), time.monotonic()
    for agent in agents:
        agent.start()
    there = lambda: sum(1 for name in names if watch.online(name) == "online" and len(watch.state(name).get("images", [])) == 2)
    budget(lab.until(lambda: there() == count, 120), f"{there()} of {count} agents are online")
    first, first_cpu = time.monotonic() - started, busy(broker.process.pid) - before
    pids = [agent.process.pid for agent in agents]
    time.sleep(10)
    shaken = [busy(pid) for pid in pids]
    start = busy(broker.process.pid)
    idle = percent(pids, 30)
    broker_idle = 100 * (busy(broker.process.pid) - start) / 30
    memory = sorted(kilobytes(pid, "RssAnon") for pid in pids)
    full = kilobytes(broker.process.pid, "VmRSS")
    broker.kill()
    broker.forget()
    time.sleep(3)
    before = [busy(pid) for pid in pids]
    broker.start()
    started = time.monotonic()
    watch = lab.Watch(broker)
    is_back = lab.until(lambda: there() == count, 120)
    back = time.monotonic() - started
    cost = sum(busy(pid) - then for pid, then in zip(pids, before)) / count
    broker_cost = busy(broker.process.pid)
    budget(is_back and back < BUDGET_BACK, f"{there()} of {count} agents are online again after {back:.1f} s")
    print(f"| {count} agents with TLS and certificates on one mosquitto, all on two cores | |\n|---|---|")
    print(f"| started one after the other, until all are seen | {first:.1f} s; CPU of the broker {1000 * first_cpu / count:.1f} ms each |")
    print(f"| CPU of an agent from its start until it is idle | {1000 * sum(shaken) / count:.1f} ms |")
    print(f"| an agent, idle: CPU; memory of its own (median) | {sum(idle) / count:.4f} % of a core; {memory[count // 2]:,} KB |")
    print(f"| the broker, idle: CPU; resident, and before | {broker_idle:.2f} % of a core; {full:,} KB, {empty:,} KB |")
    print(f"| killed, emptied, started after 3 s: until all are seen again | {back:.1f} s |")
    print(f"| CPU of that: the broker; an agent | {1000 * broker_cost / count:.1f} ms each, the viewer's included; {1000 * cost:.1f} ms |")
    print(f"| so many agents fill one core of two while idle (calculated) | {100 / (sum(idle) / count):,.0f} |")
    broker.kill()
    broker.forget()
    time.sleep(OUTAGE)
    broker.start()
    started = time.monotonic()
    watch = lab.Watch(broker)
    is_back = lab.until(lambda: there() == count, 2 * BUDGET_AFTER_OUTAGE)
    back = time.monotonic() - started
    budget(is_back and back < BUDGET_AFTER_OUTAGE, f"{there()} of {count} are back {back:.1f} s after an outage of {OUTAGE} s")
    print(f"| away for {OUTAGE} s: until all are seen again | {back:.1f} s |")
    for agent in agents:
        agent.process.terminate()
    budget([agent.process.wait(20) for agent in agents] == [0] * count, "all agents end with exit code 0")


def main():
    if len(sys.argv) > 2 or not all(word.isdecimal() for word in sys.argv[1:]):
        sys.exit(__doc__)
    count = int(sys.argv[1]) if sys.argv[1:] else 200
    at = tempfile.mkdtemp(prefix="alm-agents-")
    os.chmod(at, 0o755)
    lab.install()
    lab.AGENT = lab.agent_program()
    output, sys.stdout = sys.stdout, sys.stderr
    try:
        authority = lab.Authority(f"{at}/ca")
        broker = lab.Broker(f"{at}/broker", authority).start()
        authority.issue("pi-1")
        sys.stdout = output
        with section.written("agents", True, count >= 200):
            beside(broker, at)
            print()
            many(broker, at, count)
    finally:
        for process in lab.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(at, ignore_errors=True)
    sys.exit(1 if lab.wrong else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
