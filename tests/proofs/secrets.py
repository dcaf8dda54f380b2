#!/usr/bin/env python3
"""Where secrets are to be seen: nowhere.

    tests/proofs/secrets.py    a minute; needs root, for an engine of its own: sudo -E env "PATH=$PATH" tests/proofs/secrets.py

Docker's credentials, a token file, a proxy's password, a broker's password and a notice's address are used, and work or are refused.
Meanwhile /proc of all processes of the machine is read again and again (arguments, environment), and afterwards everything that both
executables have written: outputs, log, recording, state, metrics, outbox, and what the broker was told. A secret counts as seen in each of
its forms: as it is, in base64 (each of the three alignments, both alphabets), percent-encoded, in hexadecimal and reversed.
That the search would find something is tried first. PULL and AGENT name programs that are built.
"""

import base64, glob, os, shlex, shutil, subprocess, sys, tempfile, threading, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.dont_write_bytecode = True
import broker as lab

sys.path.append(f"{lab.ROOT}/tests/lab")
from link import Link

must, until = lab.must, lab.until
lab.TOPIC = "fleet"


def forms(secret):
    raw, found = secret.encode(), {secret, secret[::-1], secret.encode().hex(), urllib.parse.quote(secret, safe="")}
    for shift in range(3):
        # What of the base64 depends on nothing around it.
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = text[(0, 2, 3)[shift] : -1 if (shift + len(raw)) % 3 else None]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found}


class Search:
    """Secrets by name; `places` are those that were read, `hits` where one was."""

    def __init__(self):
        self.forms, self.hits, self.places = {}, set(), 0

    def add(self, name):
        # Letters, digits, and what URLs and JSON escape.
        secret = f"S3cr+t/{name}?&{os.urandom(9).hex()}"
        self.forms[name] = forms(secret)
        return secret

    def read(self, place, data, but=()):
        self.places += 1
        self.hits |= {(name, place) for name, all_forms in list(self.forms.items()) if name not in but for form in list(all_forms) if form in data}


def watch_processes(search, stop):
    """What anybody of the machine's users could read; root also reads environments. The proxy is in alm-agent's, as everywhere."""
    while not stop.is_set():
        for directory in glob.glob("/proc/[0-9]*"):
            for file in "cmdline", "environ":
                try:
                    with open(f"{directory}/{file}", "rb") as data:
                        content = data.read()
                    name = os.readlink(f"{directory}/exe").rsplit("/", 1)[-1]
                    if content:
                        search.read(f"/proc: {file} of {name}", content, {"proxy"} if (name, file) == ("alm-agent", "environ") else ())
                except OSError:
                    pass
        stop.wait(0.005)


class Receiver(BaseHTTPRequestHandler):
    """Takes notices; `asked` are the paths. As a proxy it refuses, and keeps what it was sent."""

    asked, proxied = [], []

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Receiver.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def do_CONNECT(self):
        Receiver.proxied.append(self.headers.get("Proxy-Authorization"))
        self.send_response(407)
        self.end_headers()

    do_GET = do_CONNECT
    log_message = lambda *_: None


def execute(at, name, *command, environment=None, expected=0):
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], "HOME": at, "LC_ALL": "C.UTF-8", **(environment or {})}, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    for stream, data in ("stdout", done.stdout), ("stderr", done.stderr):
        with open(f"{at}/out/{name}.{stream}", "wb") as file:
            file.write(data)
    must(done.returncode == expected, f"{name}: exit {done.returncode}" + ("" if done.returncode == expected else f": {done.stderr[-300:]}"))
    return done


def write_private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def pulls(at, search, program):
    found = dict(line.strip().split("=", 1) for line in open(f"{at}/lab/env"))
    private, host = found["PRIVATE_REGISTRY"], f"unix://{found['ENGINE_SOCKET']}"
    password = open(f"{at}/lab/password").read().strip()
    search.forms["registry password"] = forms(password) | forms(f"fleet:{password}")
    docker = lambda *arguments, **more: subprocess.run(["docker", "-H", host, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    config = f"{at}/config"
    docker("pull", f"{found['REGISTRY']}/three:latest")
    docker("tag", f"{found['REGISTRY']}/three:latest", f"{private}/three:latest")
    with open(f"{at}/lab/password") as given:
        subprocess.run(["docker", "--config", config, "-H", host, "login", "--username", "fleet", "--password-stdin", private], check=True, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    docker("--config", config, "push", "-q", f"{private}/three:latest")
    for image in f"{private}/three:latest", f"{found['REGISTRY']}/three:latest":
        docker("rmi", image)
    common = ["--host", host, "--log", f"{at}/out/log", "--state", f"{at}/out/state", "--metrics", f"{at}/out/metrics.prom", "--sizes", "always"]
    image, login = f"{private}/three:latest", {"DOCKER_CONFIG": config}
    execute(at, "docker's credentials", program, *common, "--record", f"{at}/out/record.jsonl", image, environment=login)
    docker("rmi", image)
    execute(at, "docker's credentials, --progress json", program, *common, "--progress", "json", image, environment=login)
    execute(at, "docker's credentials, --check", program, "--host", host, "--state", f"{at}/out/state", "--metrics", f"{at}/out/metrics.prom", "--check", image, environment=login)
    docker("rmi", image)
    token = write_private(f"{at}/token", password)
    execute(at, "a token file", program, *common, "--token-file", token, "--token-user", "fleet", image)
    wrong = search.add("wrong token")
    docker("rmi", image)
    execute(at, "a wrong token", program, *common, "--token-file", write_private(f"{at}/wrong", wrong), "--token-user", "fleet", image, expected=1)
    execute(at, "--running", program, "--host", host, "--running", "nobody", image, environment=login, expected=1)
    on_terminal = shlex.join([program, *common, "--token-file", token, "--token-user", "fleet", image])
    execute(at, "a terminal", "script", "--quiet", "--return", "--command", on_terminal, "/dev/null", environment={"TERM": "xterm"})
    docker("rmi", image)
    # An engine that only docker's CLI can reach gets the token through a configuration directory of its own.
    link = Link(found["ENGINE_SOCKET"])
    through_docker = ["--host", f"tcp://{link.address}", "--log", f"{at}/out/log", "--state", f"{at}/out/state", "--record", f"{at}/out/record-cli.jsonl"]
    execute(at, "docker's CLI, a token file", program, *through_docker, "--token-file", token, "--token-user", "fleet", image)
    execute(at, "docker's CLI, a wrong token", program, *through_docker, "--token-file", f"{at}/wrong", "--token-user", "fleet", image, expected=1)
    must(until(lambda: not glob.glob("/run/docker-pull-with-progress-*") + glob.glob("/dev/shm/docker-pull-with-progress-*")), "no private configuration directory is left")
    execute(at, "the states", program, "--status", "--json", "--state", f"{at}/out/state", expected=1)
    execute(at, "the log, viewed", program, "--view", "--log", f"{at}/out/log")
    return found


def agents(at, search, receiver):
    port = receiver.server_address[1]
    hook, proxy = search.add("notice"), search.add("proxy")
    path = urllib.parse.quote(hook, safe="/")
    search.forms["notice"] |= forms(path)
    quoted = urllib.parse.quote(proxy, safe="")
    search.forms["proxy"] |= forms(quoted) | forms(f"me:{proxy}")
    notify = write_private(f"{at}/notify", f"http://127.0.0.1:{port}/hook/{path}\n")
    execute(at, "a test notice", lab.AGENT, "--notify-file", notify, "--test-notice")
    must(any(path in asked for asked in Receiver.asked), "the notice arrived at its secret address")
    gone = write_private(f"{at}/notify-gone", f"https://127.0.0.1:1/hook/{path}\n")
    execute(at, "a test notice to nobody", lab.AGENT, "--notify-file", gone, "--test-notice", expected=1)
    environment = {"https_proxy": f"http://me:{quoted}@127.0.0.1:{port}", "HTTPS_PROXY": f"http://me:{quoted}@127.0.0.1:{port}"}
    far = write_private(f"{at}/notify-far", "https://notices.example/hook\n")
    execute(at, "a test notice by a proxy", lab.AGENT, "--notify-file", far, "--test-notice", environment=environment, expected=1)
    must(any(value and base64.b64decode(value.split()[1]).decode() == f"me:{proxy}" for value in Receiver.proxied), "the proxy got its password")
    broker = lab.Broker(f"{at}/broker", lab.Authority(f"{at}/ca")).start()
    password = search.add("broker")
    lab.run("mosquitto_passwd", "-U", write_passwords(broker, password))
    broker.process.send_signal(1)
    seen = lab.Watch(broker)
    arguments = ["--user", "pi-1", "--password-file", write_private(f"{at}/mqtt", password), "--device", "pi-1", "--notify-file", notify]
    agent = lab.Agent(f"{at}/out", broker, "pi-1", *arguments, port=broker.password_port, identity=False)
    agent.write(lab.image("app:1", "Error", "Failed", kind="disk-full", details="no space left on device", failing_since=lab.stamp(7200), attempts=9))
    must(until(lambda: "app:1" in str(seen.state("pi-1"))), "the agent with the broker's password has published its state")
    broker.kill()
    time.sleep(1)
    broker.start()
    again = lab.Watch(broker)
    must(until(lambda: again.online("pi-1") == "online", 90), "that agent is connected again")
    agent.end()
    write_private(f"{at}/mqtt", search.add("wrong broker"))
    agent.start()
    must(until(lambda: "refuses this device" in agent.journal()), "a wrong password is refused")
    agent.end()
    search.read("what the broker was told", "\n".join(payload for _, _, payload in seen.seen + again.seen).encode())


def remove_locks(file):
    """The registries' ports are their own, and so are the locks of their images."""
    for line in open(file) if os.path.exists(file) else ():
        if "REGISTRY=" in line:
            for lock in glob.glob(f"/run/alm/lock/{line.strip().split('=')[1].replace(':', '_')}_*"):
                os.remove(lock)


def write_passwords(broker, password):
    path = f"{broker.at}/etc/alm-fleet/devices.passwd"
    with open(path, "w") as file:
        file.write(f"pi-1:{password}\n")
    return path


def main():
    if sys.argv[1:]:
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    if os.geteuid() != 0:
        sys.exit('secrets.py: needs root, for an engine of its own: sudo -E env "PATH=$PATH" tests/proofs/secrets.py')
    subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "install", "mosquitto", "mosquitto-clients", "openssl"], check=True)
    lab.AGENT = os.path.realpath(lab.agent_program())
    program = os.environ.get("PULL")
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "docker-pull-with-progress"], cwd=lab.ROOT, check=True)
        program = f"{os.environ.get('CARGO_TARGET_DIR', lab.ROOT + '/target')}/release/docker-pull-with-progress"
    at = tempfile.mkdtemp(prefix="secrets", dir="/tmp")
    os.makedirs(f"{at}/out/state")
    # The puller looks for alm-agent beside itself.
    program = shutil.copy(program, f"{at}/docker-pull-with-progress")
    shutil.copy(lab.AGENT, f"{at}/alm-agent")
    search, stop = Search(), threading.Event()
    tried = search.add("tried")
    for number, form in enumerate(sorted(search.forms["tried"])):
        search.read(f"trial {number}", b"{" + form + b"}")
    search.read("trial within base64", base64.b64encode(f"user:{tried}:x".encode()))
    must(len({place for _, place in search.hits}) == len(search.forms["tried"]) + 1, "the search finds each form, and base64 of more than the secret")
    search.hits, search.forms = set(), {}
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    watcher = threading.Thread(target=watch_processes, args=(search, stop), daemon=True)
    try:
        subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "start", f"{at}/lab"], check=True)
        watcher.start()
        pulls(at, search, program)
        agents(at, search, receiver)
        stop.set()
        watcher.join()
        must(search.places > 1000, f"{search.places} arguments and environments were read meanwhile")
        files = [file for file in glob.glob(f"{at}/out/**", recursive=True, include_hidden=True) if os.path.isfile(file)] + [f"{at}/broker/log"]
        files += [file for file in glob.glob("/var/lib/alm/outbox/*") if os.path.isfile(file)]
        for file in files:
            search.read(file.removeprefix(at), open(file, "rb").read())
        must(len(files) > 20, f"{len(files)} files were read, of these outputs, log, recording, states, metrics, journal")
        must(not search.hits, f"no secret was found {sorted(search.hits)[:10]}")
    finally:
        stop.set()
        for process in lab.started:
            process.poll() is None and process.kill()
        remove_locks(f"{at}/lab/env")
        subprocess.run([f"{lab.ROOT}/tests/lab/lab.sh", "stop", f"{at}/lab"])
        shutil.rmtree(at, ignore_errors=True)
    sys.exit(1 if lab.wrong else 0)


main()
