#!/usr/bin/env python3
"""The device agent against a real mosquitto, configured as the package alm-fleet does it, with certificates as Puppet's CA
issues them.

    tests/proofs/broker.py           the rights of devices and viewers, and how an agent reacts to a broker that is killed,
                                     emptied, stopped, or refuses it: four minutes
    tests/proofs/broker.py random    1,000 random changes of the states while the broker is killed ten times: at the end the
                                     broker must have the states of the files
    tests/proofs/broker.py many N    N agents with TLS on one broker: their memory and CPU time, and the cost when all reconnect
                                     to a broker that was killed and emptied

    tests/proofs/broker.py unit      alm-agent.service under a real systemd: silent, connected, stopped, with wrong options; needs
                                     root and cgroup v2

As root it installs what it needs from Debian: mosquitto, mosquitto-clients, openssl and iproute2 (ss). AGENT=/path/of/alm-agent
uses that program instead of building it. All files are in a temporary directory, all ports are free ports of loopback.
"""

import base64, http.server, json, os, random, re, shutil, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time

from ports import free_ports
from slowtls import SlowTls

ROOT = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")
TOPIC = "fleet/eu"
wrong = []
# Every process that was started; all are ended at the end, whatever happens.
started = []


def must(holds, text):
    print(f"{'ok   ' if holds else 'WRONG'} {text}", flush=True)
    if not holds:
        wrong.append(text)


def until(what, limit=60.0):
    """Calls `what` until its value is true or the time is over; returns the last value."""
    end = time.monotonic() + limit
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.05)


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **more)


def begin(*arguments, **more):
    started.append(subprocess.Popen(*arguments, **more))
    return started[-1]


class Authority:
    """Certificates as Puppet's CA makes them: RSA for the CA, the certname as common name and DNS name."""

    def __init__(self, directory, name="Puppet CA: puppet.example.org"):
        self.at = directory
        os.makedirs(directory)
        with open(f"{directory}/openssl.cnf", "w") as file:
            file.write(
                f"[ca]\ndefault_ca=puppet\n[puppet]\ndatabase={directory}/index\nserial={directory}/serial\ncrlnumber={directory}/crlnumber\n"
                f"new_certs_dir={directory}\ndefault_md=sha256\ndefault_days=1825\ndefault_crl_days=1825\npolicy=any\nunique_subject=no\n"
                "[any]\ncommonName=supplied\n[req]\ndistinguished_name=dn\n[dn]\n"
            )
        open(f"{directory}/index", "w").close()
        for file in "serial", "crlnumber":
            with open(f"{directory}/{file}", "w") as out:
                out.write("01\n")
        self.openssl("genrsa", "-out", f"{directory}/ca.key", "2048")
        self.openssl("req", "-x509", "-new", "-key", f"{directory}/ca.key", "-subj", f"/CN={name}", "-days", "1825", "-out", self.ca,
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.list()

    ca = property(lambda self: f"{self.at}/ca.pem")
    crl = property(lambda self: f"{self.at}/crl.pem")

    def openssl(self, *arguments):
        done = run("openssl", *arguments)
        if done.returncode:
            sys.exit(f"openssl {' '.join(arguments)}: {done.stdout}")

    def list(self):
        self.openssl("ca", "-config", f"{self.at}/openssl.cnf", "-keyfile", f"{self.at}/ca.key", "-cert", self.ca, "-gencrl", "-out", self.crl)

    def issue(self, name, kind="ec", end=None):
        """Returns the files of the certificate and of its key."""
        stem = f"{self.at}/{name}"
        if kind == "ec":
            self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{stem}.key")
        else:
            self.openssl("genrsa", "-traditional", "-out", f"{stem}.key", kind)
        self.openssl("req", "-new", "-key", f"{stem}.key", "-subj", "/CN=" + name.replace("+", "\\+"), "-out", f"{stem}.csr")
        with open(f"{stem}.ext", "w") as file:
            file.write(
                "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n"
                f"nsComment=Puppet Server Internal Certificate\nsubjectAltName=DNS:{name}" + (",DNS:localhost" if name == "broker" else "") + "\n"
            )
        more = ["-enddate", end, "-startdate", "20200101000000Z"] if end else []
        self.openssl("ca", "-batch", "-config", f"{self.at}/openssl.cnf", "-keyfile", f"{self.at}/ca.key", "-cert", self.ca, "-in", f"{stem}.csr",
                     "-extfile", f"{stem}.ext", "-out", f"{stem}.pem", "-notext", *more)
        return f"{stem}.pem", f"{stem}.key"

    def revoke(self, name):
        self.openssl("ca", "-config", f"{self.at}/openssl.cnf", "-keyfile", f"{self.at}/ca.key", "-cert", self.ca, "-revoke", f"{self.at}/{name}.pem")
        self.list()


class Broker:
    """mosquitto with the configuration of alm-fleet-configure."""

    def __init__(self, directory, authority, devices=1000):
        self.at, self.authority, self.process = directory, authority, None
        self.port, self.password_port, self.viewer_port = free_ports(3)
        self.socket = f"{directory}/socket"
        os.makedirs(f"{directory}/share")
        os.symlink(f"{ROOT}/deploy/fleet/mosquitto", f"{directory}/share/mosquitto")
        os.symlink(f"{ROOT}/deploy/fleet/page", f"{directory}/share/page")
        cert, key = authority.issue("broker")
        with open(f"{directory}/default", "w") as file:
            file.write(
                f"ROOT={TOPIC}\nDEVICES={devices}\nCERT={cert}\nKEY={key}\nDEVICE_PORT={self.port}\nCA={authority.ca}\nCRL={authority.crl}\n"
                f"PASSWORD_PORT={self.password_port}\nVIEWER_PORT={self.viewer_port}\nSOCKET={self.socket}\n"
            )
        self.environment = {"PATH": os.environ["PATH"], "ALM_FLEET_SHARE": f"{directory}/share", "ALM_FLEET_TO": f"{directory}/etc",
                            "ALM_FLEET_DEFAULT": f"{directory}/default"}
        must(self.configure("--check").returncode == 1, "alm-fleet-configure --check fails and names what is missing")
        done = self.configure()
        must(done.returncode == 0, f"alm-fleet-configure: {done.stdout.strip()[:60]}")
        must(self.configure("--check").returncode == 0 and self.configure().stdout == "", "a second alm-fleet-configure changes nothing")
        for file, user, password in ("viewers", "viewer", "look"), ("devices", "pi-password", "secret"):
            run("mosquitto_passwd", "-b", f"{directory}/etc/alm-fleet/{file}.passwd", user, password)
        os.makedirs(f"{directory}/db")
        # The settings of Debian's own mosquitto.conf, and a listener that only this test uses.
        with open(f"{directory}/mosquitto.conf", "w") as file:
            user = "user root\n" if os.geteuid() == 0 else ""
            file.write(f"persistence true\npersistence_location {directory}/db/\nlog_dest file {directory}/log\n{user}include_dir {directory}/etc/conf.d\n")

    def configure(self, *arguments):
        return run(f"{ROOT}/deploy/fleet/mosquitto/alm-fleet-configure", *arguments, env=self.environment)

    def start(self):
        self.process = begin(["mosquitto", "-c", f"{self.at}/mosquitto.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        def listens():
            try:
                socket.create_connection(("127.0.0.1", self.viewer_port), 1).close()
                return True
            except OSError:
                return self.process.poll() is not None
        until(listens)
        if self.process.poll() is not None:
            sys.exit(f"mosquitto did not start: {open(f'{self.at}/log').read()}")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def forget(self):
        shutil.rmtree(f"{self.at}/db")
        os.makedirs(f"{self.at}/db")

    def publish(self, name, topic, payload="x", version="5"):
        """Publishes with the certificate of this device; returns the output of mosquitto_pub."""
        at = self.authority.at
        return run("mosquitto_pub", "-h", "localhost", "-p", str(self.port), "--cafile", self.authority.ca, "--cert", f"{at}/{name}.pem",
                   "--key", f"{at}/{name}.key", "-V", version, "-q", "1", "-r", "-t", topic, "-m", payload)


class WebSocket:
    """MQTT over a websocket with TLS, as the page uses it."""

    def __init__(self, broker, user, password):
        context = ssl.create_default_context(cafile=broker.authority.ca)
        self.socket = context.wrap_socket(socket.create_connection(("localhost", broker.viewer_port), 10), server_hostname="localhost")
        self.socket.settimeout(10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1) or sys.exit("the websocket was closed")
        self.head, self.bytes = head, b""
        text = lambda value: struct.pack("!H", len(value)) + value.encode()
        flags = (0xC2 if user else 0x02)
        self.send(0x10, text("MQTT") + bytes([4, flags, 0, 60]) + text(f"page-{os.urandom(4).hex()}") + (text(user) + text(password) if user else b""))

    def send(self, kind, body):
        length, rest = b"", len(body)
        while True:
            rest, digit = divmod(rest, 128)
            length += bytes([digit | (0x80 if rest else 0)])
            if not rest:
                break
        packet = bytes([kind]) + length + body
        mask = os.urandom(4)
        size = bytes([0x80 | len(packet)]) if len(packet) < 126 else b"\xfe" + struct.pack("!H", len(packet))
        self.socket.sendall(b"\x82" + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(packet)))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def fill(self):
        first, size = self.exactly(2)
        size = {126: lambda: struct.unpack("!H", self.exactly(2))[0], 127: lambda: struct.unpack("!Q", self.exactly(8))[0]}.get(size & 127, lambda: size & 127)()
        data = self.exactly(size)
        if first & 15 == 8:
            raise EOFError
        self.bytes += data

    def packet(self):
        while True:
            size, shift, at = 0, 0, 1
            whole = False
            while at < len(self.bytes):
                size |= (self.bytes[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if not self.bytes[at - 1] & 128:
                    whole = True
                    break
            if whole and len(self.bytes) >= at + size:
                kind, body, self.bytes = self.bytes[0], self.bytes[at : at + size], self.bytes[at + size :]
                return kind, body
            self.fill()


class Watch:
    """All messages that a viewer receives. It connects by websocket, because viewers have no other listener."""

    def __init__(self, broker):
        self.retained, self.progress, self.seen = {}, [], []
        self.socket = WebSocket(broker, "viewer", "look")
        kind, body = self.socket.packet()
        assert (kind, body[1]) == (0x20, 0), (kind, body)
        topic = f"{TOPIC}/#".encode()
        self.socket.send(0x82, b"\0\1" + struct.pack("!H", len(topic)) + topic + b"\0")
        self.is_open = True
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        pinged = time.monotonic()
        try:
            while True:
                try:
                    kind, body = self.socket.packet()
                except TimeoutError:
                    self.socket.send(0xC0, b"")
                    continue
                if time.monotonic() > pinged + 20:
                    pinged = time.monotonic()
                    self.socket.send(0xC0, b"")
                if kind >> 4 == 3:
                    size = struct.unpack("!H", body[:2])[0]
                    topic, payload = body[2 : 2 + size].decode(), body[2 + size :].decode()
                    self.seen.append((time.monotonic(), topic, payload))
                    if topic.endswith("/progress") and payload.startswith("{"):
                        self.progress.append(json.loads(payload))
                    else:
                        self.retained[topic] = payload
        except (EOFError, OSError, ValueError):
            self.is_open = False

    def online(self, device):
        return self.retained.get(f"{TOPIC}/{device}/online")

    def state(self, device):
        return json.loads(self.retained.get(f"{TOPIC}/{device}/state", "{}"))


def install():
    """Installs the programs as root; for other users they must be installed already."""
    if os.geteuid() == 0:
        subprocess.run([f"{ROOT}/tests/lab/lab.sh", "install", "mosquitto", "mosquitto-clients", "openssl", "iproute2"], check=True)


def agent_program():
    given = os.environ.get("AGENT")
    if given:
        return given
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "alm-agent"], cwd=ROOT, check=True)
    return f"{os.environ.get('CARGO_TARGET_DIR', ROOT + '/target')}/release/alm-agent"


class Agent:
    def __init__(self, at, broker, name, *more, port=None, identity=True, program=None, wait=True):
        self.name, self.log, self.state = name, f"{at}/{name}.log", f"{at}/{name}.state"
        os.makedirs(self.state, exist_ok=True)
        self.arguments = [program or AGENT, "--broker", f"mqtts://localhost:{port or broker.port}", "--ca", broker.authority.ca, "--topic", TOPIC,
                          "--state", self.state, *more]
        if identity:
            self.arguments += ["--cert", f"{broker.authority.at}/{name}.pem", "--key", f"{broker.authority.at}/{name}.key"]
        self.process = None
        if wait:
            self.start()

    def start(self):
        self.process = begin(self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.log, "ab"), env={})
        return self

    def journal(self):
        return open(self.log).read() if os.path.exists(self.log) else ""

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(20)

    def write(self, image):
        write_state(self.state, image)


def state_name(image):
    return f"docker.io/library/{image}".replace("/", "%2F").replace(":", "%3A")


def write_state(directory, image):
    name = state_name(image["id"])
    with open(f"{directory}/.{name}.tmp", "w") as file:
        json.dump(image, file)
    os.rename(f"{directory}/.{name}.tmp", f"{directory}/{name}.json")


def stamp(ago=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


def uptime():
    return int(float(open("/proc/uptime").read().split()[0]))


def image(name, status="Done", text="Pulled", **more):
    return {"v": 1, "id": name, "status": status, "text": text, "time": stamp(), "since": stamp(60), **more}


def working(name, current, pid=None):
    layer = {"id": "b5a0d1a0b112", "text": "Downloading", "current": current, "total": 1000, "percent": current // 10}
    return image(name, "Working", "Downloading", pid=os.getpid() if pid is None else pid, beat=uptime(), attempt=1, current=current, total=1000,
                 percent=current // 10, rate=5, left=9, layers=[layer])


UNPUBLISHED = {"layers", "pid", "born", "beat", "rate", "left"}


def published_fields(state):
    """The fields of an image that the agent publishes."""
    return {key: value for key, value in state.items() if key not in UNPUBLISHED}


def accounts(broker, agent, watch, at):
    """The rights of devices and viewers."""
    print("-- the rights of devices and viewers")
    listening = run("ss", "-ltnpH").stdout
    own = [line for line in listening.splitlines() if f"pid={broker.process.pid}," in line]
    ports = {int(re.search(r":(\d+)$", line.split()[3])[1]) for line in own}
    must(ports == {broker.port, broker.password_port, broker.viewer_port}, f"ss -ltn: mosquitto listens on its three ports only {sorted(ports)}")
    for port in sorted(ports):
        plain = run("mosquitto_pub", "-h", "localhost", "-p", str(port), "-t", f"{TOPIC}/pi-1/state", "-m", "x")
        must(plain.returncode != 0, f"port {port}: a client without TLS is refused ({plain.stdout.strip()[:40]})")
        no_login = run("mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", broker.authority.ca, "-t", f"{TOPIC}/pi-1/state", "-m", "x")
        must(no_login.returncode != 0, f"port {port}: a client without a login is refused ({no_login.stdout.strip()[:40]})")
    for topic in ("online", "state", "progress"):
        done = broker.publish("pi-2", f"{TOPIC}/pi-2/{topic}")
        must(done.returncode == 0 and "not authori" not in done.stdout.lower(), f"a device may write its own topic {topic}")
    for topic in (f"{TOPIC}/pi-1/state", f"{TOPIC}/pi-2/other", f"{TOPIC}/pi-2/state/more", f"{TOPIC}/pi-2", "fleet/pi-2/state", "other/pi-2/state", "$SYS/pi-2/state",
                  f"{TOPIC}//state", f"{TOPIC}/pi-2/State"):
        done = broker.publish("pi-2", topic, "forged")
        must("not authori" in done.stdout.lower() or done.returncode != 0, f"a device may not write {topic} ({done.stdout.strip()[-40:]})")
        done = broker.publish("pi-2", topic, "forged", "311")
    until(lambda: f"{TOPIC}/pi-2/progress" in [seen[1] for seen in watch.seen], 5)
    must(watch.is_open and "forged" not in [seen[2] for seen in watch.seen], "no viewer received a forged message, with MQTT 3.1.1 either")
    wild = broker.publish("pi-2", f"{TOPIC}/pi-2/#")
    must(wild.returncode != 0, f"a device may not write to a topic with # ({wild.stdout.strip()[:40]})")
    at_broker = broker.authority.at
    received = run("mosquitto_sub", "-h", "localhost", "-p", str(broker.port), "--cafile", broker.authority.ca, "--cert", f"{at_broker}/pi-2.pem", "--key",
                f"{at_broker}/pi-2.key", "-t", "#", "-W", "2", "-V", "5")
    must("online" not in received.stdout and "pi-1" not in received.stdout, f"a device that subscribes to everything receives nothing of other devices ({received.stdout.strip()[:40]!r})")
    own = run("mosquitto_sub", "-h", "localhost", "-p", str(broker.port), "--cafile", broker.authority.ca, "--cert", f"{at_broker}/pi-2.pem", "--key",
              f"{at_broker}/pi-2.key", "-t", f"{TOPIC}/pi-1/#", "-W", "2", "-V", "5")
    must("online" not in own.stdout, "a device that subscribes to one other device receives nothing of it")
    # Root of the server removes a device that is gone.
    def server(topic, *more, **how):
        return run("mosquitto_pub", "--unix", broker.socket, "-V", "5", "-r", "-n", "-q", "1", "-t", topic, *more, **how)
    must(os.stat(broker.socket).st_mode & 0o007 == 0, f"the socket is for mosquitto's own user and group ({os.stat(broker.socket).st_mode & 0o777:o})")
    must(watch.retained.get(f"{TOPIC}/pi-2/state") == "x", "pi-2 has a state")
    for topic in "online", "state":
        done = server(f"{TOPIC}/pi-2/{topic}")
        must(done.returncode == 0 and done.stdout == "", f"root may delete {topic} of a device {done.stdout}")
    must(until(lambda: watch.retained.get(f"{TOPIC}/pi-2/state") == watch.retained.get(f"{TOPIC}/pi-2/online") == "", 5), "and viewers receive that")
    for topic in f"{TOPIC}/pi-2/progress", f"{TOPIC}/pi-2", "fleet/pi-2/state":
        must("not authori" in server(topic).stdout.lower(), f"but not write {topic}")
    read = run("mosquitto_sub", "--unix", broker.socket, "-t", "#", "-W", "1")
    must("pi-1" not in read.stdout, "or read anything")
    if os.geteuid() == 0:
        done = server(f"{TOPIC}/pi-2/state", user="nobody", group="nogroup", extra_groups=[])
        must(done.returncode != 0, f"other users may not use the socket ({done.stdout.strip()})")
    # Viewers.
    viewer = WebSocket(broker, "viewer", "look")
    must(viewer.packet()[1][1] == 0, "a viewer with a login is accepted")
    text = f"{TOPIC}/pi-1/state".encode()
    viewer.send(0x30, struct.pack("!H", len(text)) + text + b"painted")
    time.sleep(1)
    must(watch.is_open and "painted" not in [seen[2] for seen in watch.seen], "a viewer may not write")
    for user, password in ("viewer", "guess"), ("", ""), ("nobody", "look"), ("pi-password", "secret"):
        try:
            code = WebSocket(broker, user, password).packet()[1][1]
        except (EOFError, OSError):
            code = "closed"
        must(code != 0, f"a viewer as {user or 'nobody'} with {password or 'no password'} is refused ({code})")
    try:
        context = ssl.create_default_context(cafile=broker.authority.ca)
        with context.wrap_socket(socket.create_connection(("localhost", broker.viewer_port), 5), server_hostname="localhost") as page:
            page.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            got = b""
            while more := page.recv(65536):
                got += more
    except OSError:
        pass
    must(b"<html" in got.lower(), "the page is served at the same address")
    # A login instead of a certificate.
    with open(f"{at}/password", "w") as file:
        file.write("secret\n")
    login = Agent(at, broker, "pi-password", "--user", "pi-password", "--password-file", f"{at}/password", "--device", "pi-password", port=broker.password_port, identity=False)
    must(until(lambda: watch.state("pi-password").get("device") == "pi-password"), "a device with a password publishes its state")
    command = open(f"/proc/{login.process.pid}/cmdline").read() + open(f"/proc/{login.process.pid}/environ").read()
    must("secret" not in command, "the password is neither in the arguments nor in the environment of the agent")
    login.end()
    must("secret" not in login.journal(), "the password is not in the journal")
    must("can be read by everybody" in login.journal(), "the journal names a password file that everybody may read")
    os.chmod(f"{at}/password", 0o600)
    print("-- names of devices")
    for name in "Pi.Example.COM", "pi-Ü", "hall 2", "x" * 200:
        run("mosquitto_passwd", "-b", f"{broker.at}/etc/alm-fleet/devices.passwd", name, "secret")
    broker.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    for number, name in enumerate(("Pi.Example.COM", "pi-Ü", "hall 2", "x" * 200)):
        # With the line ends of Windows.
        with open(f"{at}/password", "wb") as file:
            file.write(b"\xef\xbb\xbfsecret\r\n")
        named = Agent(at, broker, f"named-{number}", "--user", name, "--password-file", f"{at}/password", "--device", name, "--once", port=broker.password_port, identity=False)
        code = named.process.wait(20)
        must(code == 0 and until(lambda: watch.state(name).get("device") == name, 5), f"a device named {name[:20]!r} is published under that name ({code})")
    for name in "pi+1", "pi#1":
        broker.authority.issue(name)
        odd = Agent(at, broker, name, "--once")
        must(odd.process.wait(20) == 1 and "as part of a topic" in odd.journal(), f"a certificate for {name} is refused: {odd.journal().strip()[:80]}")
    with open(f"{at}/password", "w") as file:
        file.write("wrong-secret\n")
    login.start()
    must(until(lambda: "refuses this device" in login.journal()), "a wrong password is reported in the journal")
    must("wrong-secret" not in login.journal(), "the wrong password itself is not in the journal")
    login.end()
    other = Agent(at, broker, "pi-2", "--device", "pi-1")
    must(until(lambda: "not authorized (135)" in other.journal()), "a device that writes to the topic of another reports that it is not authorized")
    time.sleep(2)
    must(other.journal().count("refuses what this device says") == 2, "it reports this once for each topic, not for each attempt")
    other.end()


def revoked(broker, at, watch):
    print("-- a revoked certificate")
    broker.authority.issue("pi-3")
    agent = Agent(at, broker, "pi-3")
    must(until(lambda: watch.online("pi-3") == "online"), f"pi-3 is online: {agent.journal().strip()[-100:]}")
    agent.end()
    broker.authority.revoke("pi-3")
    broker.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    agent.start()
    is_out = until(lambda: "revoked" in agent.journal(), 10)
    if not is_out:
        print("     (this mosquitto does not read the list again on SIGHUP: it is restarted)")
        agent.end()
        broker.process.terminate()
        broker.process.wait()
        broker.start()
        agent.start()
    must(until(lambda: "it was revoked" in agent.journal()), f"the journal says that the certificate was revoked: {agent.journal().strip().splitlines()[-1][-90:]}")
    agent.end()
    stranger = Authority(f"{at}/other-ca")
    cert, key = stranger.issue("pi-1")
    foreign = Agent(at, broker, "foreign", "--cert", cert, "--key", key, identity=False)
    must(until(lambda: "refuses this device" in foreign.journal()), f"another authority's certificate is refused: {foreign.journal().strip()[-120:]}")
    foreign.end()
    untrusted = Agent(at, broker, "pi-2", "--ca", stranger.ca)
    must(until(lambda: "not issued by an authority that is trusted" in untrusted.journal()), f"a broker of another authority is not trusted: {untrusted.journal().strip()[-120:]}")
    untrusted.end()
    broker.authority.issue("pi-old", end="20210101000000Z")
    expired = Agent(at, broker, "pi-old")
    must(until(lambda: "it has expired" in expired.journal()), f"an expired certificate is reported in the journal: {expired.journal().strip()[-100:]}")
    expired.end()


def states(broker, agent, watch, at):
    print("-- what is published")
    must(until(lambda: watch.online("pi-1") == "online"), "the device is online")
    agent.write(image("app:1", digest="sha256:1", failures=3, received=5))
    must(until(lambda: watch.state("pi-1").get("images"), 12), "a new state is published")
    published = watch.state("pi-1")
    must(published["images"] == [published_fields(json.load(open(f"{agent.state}/{state_name('app:1')}.json")))], "each of its fields is that of the state file")
    must((published["v"], published["device"], published["site"]) == (1, "pi-1", "Berlin / Küche"), "it has the version, the device and the site")
    for current in range(0, 1000, 50):
        agent.write(working("app:1", current))
        time.sleep(0.35)
    must(len(watch.progress) >= 4, f"the progress is published: {len(watch.progress)} messages in 7 s")
    times = [seen[0] for seen in watch.seen if seen[1].endswith("/pi-1/progress")]
    gaps = [round(b - a, 2) for a, b in zip(times, times[1:])]
    must(all(gap > 0.8 for gap in gaps), f"progress is published at most once a second (intervals {gaps})")
    last = (watch.progress or [{}])[-1]
    must(set(last) == {"time", "id", "text", "current", "total", "percent", "rate", "left", "layers"}, f"progress has the keys {' '.join(last)}")
    agent.write(working("app:1", 990, pid=4194304))
    agent.write(image("web:2", "Error", "Failed", kind="disk-full", details="no space left on device", failing_since=stamp(500), attempts=6))
    os.makedirs(f"{agent.state}/container", exist_ok=True)
    with open(f"{agent.state}/container/web.json", "w") as file:
        json.dump({"v": 1, "name": "web", "image": "web:2", "status": "Running", "since": stamp()}, file)
    must(until(lambda: len(watch.state("pi-1").get("images", [])) == 2 and watch.state("pi-1").get("containers"), 25), "a second image and a container are published")
    agent.write(dict(working("app:1", 995), beat=max(0, uptime() - 500)))
    must(until(lambda: any(row.get("lost") for row in watch.state("pi-1")["images"]), 25), "a pull whose writer is gone is published as lost")
    print("-- hostile state files")
    for name, content in {"r%2Fhuge.json": "[" * 70000, "r%2Fdeep.json": "[" * 60000, "r%2Fbinary.json": "\0\xff\x1b[2J", "r%2Fempty.json": "", "r%2Fbig.json": json.dumps(image("big:1", details="x" * 66000))}.items():
        with open(f"{agent.state}/{name}", "w", encoding="latin-1") as file:
            file.write(content)
    os.mkfifo(f"{agent.state}/r%2Fpipe.json")
    os.symlink("/etc/passwd", f"{agent.state}/r%2Flink.json")
    os.mkdir(f"{agent.state}/r%2Fdirectory.json")
    agent.write(image("evil:1", "Error", "Failed", details="\x1b[2J\u202e"))
    agent.write(image("good:1"))
    must(until(lambda: "good:1" in [row["id"] for row in watch.state("pi-1")["images"]], 25), "a good state beside hostile ones is published")
    must(len(watch.state("pi-1")["images"]) == 3, "no hostile state is published")
    for number in range(70):
        agent.write(image(f"many:{number}", "Error", "Failed", kind="unknown", details="ü" * 900, hint="ü" * 900))
    must(until(lambda: len(watch.state("pi-1")["images"]) == 64, 25), "64 images with the longest texts are published")
    must(len(watch.retained[f"{TOPIC}/pi-1/state"].encode()) < 65536, f"the payload is under 64 KiB: {len(watch.retained[f'{TOPIC}/pi-1/state'].encode())} bytes")
    must(agent.process.poll() is None and agent.journal().count("\n") == 1, f"the agent is running, and its journal has one line: {agent.journal().strip()}")
    for file in os.listdir(agent.state):
        path = f"{agent.state}/{file}"
        if file != "container":
            os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    agent.write(image("app:1", digest="sha256:1"))
    must(until(lambda: [row["id"] for row in watch.state("pi-1")["images"]] == ["app:1"], 25), "the removal of a state is published")
    print("-- the directory of the states changes while the agent runs")
    ids = lambda: sorted(row["id"] for row in watch.state("pi-1").get("images", []))
    for number in range(10_000):
        open(f"{agent.state}/foreign-{number}.txt", "w").close()
    with open(f"{agent.state}/{state_name('sparse:1')}.json", "w") as file:
        file.truncate(1 << 30)
    agent.write(image("app:3"))
    must(until(lambda: ids() == ["app:1", "app:3"], 25), "states are published from a directory with 10,000 other files and a sparse file of 1 GB")
    peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{agent.process.pid}/status").read())[1])
    # Enough for the 64 images above, and for the larger executable of a debug build.
    must(peak < (8_000 if os.path.getsize(AGENT) < 10_000_000 else 16_000), f"     the peak of its resident memory is {peak} KB")
    aside = f"{agent.state}.aside"
    os.rename(agent.state, aside)
    must(until(lambda: ids() == [], 25), "no image is published after the directory was removed")
    os.symlink(aside, agent.state)
    time.sleep(8)
    must(ids() == [], "a symbolic link in its place is not followed")
    os.unlink(agent.state)
    shutil.rmtree(aside)
    os.makedirs(agent.state)
    agent.write(image("app:1", digest="sha256:1"))
    must(until(lambda: ids() == ["app:1"], 25), "a new directory is read")
    must(agent.process.poll() is None and agent.journal().count("\n") == 1, "the agent is running, and its journal still has one line")


def notices(broker, watch, at):
    """Receivers of notices that hang or refuse do not delay what is published to the broker."""
    print("-- a receiver of notices that does not answer")
    silent = socket.create_server(("127.0.0.1", 0))
    asked = []
    def accept():
        while True:
            asked.append(silent.accept()[0])
    threading.Thread(target=accept, daemon=True).start()
    file = f"{at}/notify"
    with open(file, "w") as out:
        out.write(f"http://127.0.0.1:{silent.getsockname()[1]}/hush\nhttp://127.0.0.1:{free_ports(1)[0]}/hush\n")
    os.chmod(file, 0o600)
    agent = Agent(at, broker, "pi-2", "--notify-file", file)
    must(until(lambda: watch.online("pi-2") == "online"), "the device is online")
    agent.write(image("bad:1", "Error", "Failed", kind="network", details="gone", failing_since=stamp(7200), attempts=3))
    must(until(lambda: asked, 90), "the receiver gets a request, and does not answer")
    begun = time.monotonic()
    agent.write(image("good:1"))
    must(until(lambda: "good:1" in [row["id"] for row in watch.state("pi-2").get("images", [])], 12), f"meanwhile a new state is published, after {time.monotonic() - begun:.1f} s")
    count = len(watch.progress)
    for current in range(0, 1000, 100):
        agent.write(working("good:1", current))
        time.sleep(0.5)
    must(len(watch.progress) - count >= 3 and len(asked) == 1, f"meanwhile progress is published: {len(watch.progress) - count} messages in 5 s")
    begun = time.monotonic()
    must(agent.end() == 0, f"the agent ends after a signal, in {time.monotonic() - begun:.1f} s")
    must(until(lambda: watch.online("pi-2") == "offline", 5), "it publishes offline at its end")
    must("hush" not in agent.journal(), "the address of the receiver is not in the journal")


def lost(broker, agent, at):
    print("-- the broker is killed and started again")
    broker.kill()
    broker.forget()
    agent.write(image("app:2"))
    must(until(lambda: "no connection" in agent.journal()), f"a broker that was killed is reported in the journal: {agent.journal().strip().splitlines()[-1][:110]}")
    time.sleep(2)
    broker.start()
    started = time.monotonic()
    watch = Watch(broker)
    is_back = until(lambda: {row["id"] for row in watch.state("pi-1").get("images", [])} == {"app:1", "app:2"} and watch.online("pi-1") == "online", 60)
    must(is_back, f"after its database was deleted, everything is published again within {time.monotonic() - started:.1f} s (at most 60)")
    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait()
    must(until(lambda: watch.online("pi-1") == "offline", 5), "when the agent is killed, the broker publishes offline for it")
    agent.start()
    must(until(lambda: watch.online("pi-1") == "online", 10), "when the agent is started again, it is online")
    code = agent.end()
    must(code == 0 and until(lambda: watch.online("pi-1") == "offline", 5), f"after a signal the agent publishes offline and ends with exit code {code}")
    old = Agent(at, broker, "pi-2", "--mqtt", "3.1.1", "--site", "Paris")
    must(until(lambda: watch.state("pi-2").get("site") == "Paris" and watch.online("pi-2") == "online"), "MQTT 3.1.1: state and online are published")
    old.process.send_signal(signal.SIGKILL)
    old.process.wait()
    must(until(lambda: watch.online("pi-2") == "offline", 5), "MQTT 3.1.1: the broker publishes the will")
    for version in "5", "3.1.1":
        once = Agent(at, broker, "pi-2", "--mqtt", version, "--once", "--site", f"once {version}")
        code = once.process.wait(20)
        must(code == 0 and until(lambda: watch.state("pi-2").get("site") == f"once {version}", 5), f"--once with MQTT {version} publishes the state and ends with exit code {code}")
    must(watch.online("pi-2") == "offline", "--once does not publish online")
    once = Agent(at, broker, "pi-2", "--once", "--device", "pi-1")
    must(once.process.wait(20) == 1 and "not authorized" in once.journal(), "--once fails with a reason if the broker refuses the state")
    nobody = Agent(at, broker, "pi-2", "--once", port=free_ports(1)[0])
    must(nobody.process.wait(20) == 1 and "connection refused" in nobody.journal(), f"--once fails with a reason if there is no broker: {nobody.journal().strip().splitlines()[-1][:100]}")
    agent.start()
    return watch


def renewed(broker, agent, watch, at):
    print("-- a certificate is renewed")
    before = run("openssl", "x509", "-in", f"{broker.authority.at}/pi-1.pem", "-serial", "-noout").stdout
    must(until(lambda: watch.online("pi-1") == "online"), "pi-1 is online")
    broker.authority.issue("pi-1", "2048")
    broker.authority.list()
    broker.kill()
    until(lambda: agent.journal().count("no connection") >= 1)
    broker.start()
    watch = Watch(broker)
    must(until(lambda: watch.online("pi-1") == "online", 60), "it connects again with a new certificate and an RSA key (PKCS#1) in the same files")
    serial = run("openssl", "x509", "-in", f"{broker.authority.at}/pi-1.pem", "-serial", "-noout").stdout
    must(serial != before, f"the certificate in use is the new one: {serial.strip()} ({before.strip()} before)")
    agent.end()


def others(broker, at):
    """Servers that are not brokers, or broken ones."""
    print("-- servers that are not a working broker")
    def serve(answer):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{broker.authority.at}/broker.pem", f"{broker.authority.at}/broker.key")
        listener = socket.create_server(("127.0.0.1", 0))
        count = [0]
        def loop():
            while True:
                connection, _ = listener.accept()
                count[0] += 1
                try:
                    secure = context.wrap_socket(connection, server_side=True)
                    secure.recv(4096)
                    if answer is None:
                        time.sleep(100)
                    secure.sendall(answer)
                    time.sleep(1)
                    secure.close()
                except OSError:
                    pass
        threading.Thread(target=loop, daemon=True).start()
        return listener.getsockname()[1], count
    # It sends single bytes: no single read takes long, but the whole handshake must have a limit.
    slow = SlowTls(f"{broker.authority.at}/broker.pem", f"{broker.authority.at}/broker.key", in_handshake=True)
    patient = Agent(at, broker, "pi-1", port=slow.port)
    os.truncate(patient.log, 0)
    for what, answer, expected in (
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"<html>" * 20, "does not answer as a broker"),
        ("a broker that is unavailable", b"\x20\x03\x00\x88\x00", "not able to serve now (136)"),
        ("a broker of MQTT 3.1.1 that gets MQTT 5", b"\x20\x02\x00\x01", "--mqtt"),
        ("a broker that announces a packet of 256 MB", b"\x20\xff\xff\xff\x7f" + b"x" * 100, "does not answer as a broker"),
        ("a server that closes the connection", b"", "closed"),
        ("a broker that ends the connection for another one of the same name", b"\x20\x03\x00\x00\x00\xe0\x01\x8e", "another connection came under the same name"),
        ("a broker that sends its devices to another broker", b"\x20\x03\x00\x9d\x00", "has to use another broker (157)"),
        ("a broker whose quota is used up", b"\x20\x03\x00\x97\x00", "too much at once (151)"),
        ("a broker that gives no reason", b"\x20\x03\x00\x80\x00", "see the broker's own log (128)"),
        ("a broker without retained messages", b"\x20\x05\x00\x00\x02\x25\x00", "keeps no messages for later"),
        ("a broker without QoS 1", b"\x20\x05\x00\x00\x02\x24\x00", "confirms no messages"),
        ("a broker that accepts 20 bytes", b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x14", "takes no messages of this size"),
        ("a broker that sends another's retained message", b"\x20\x03\x00\x00\x00\x31\x05\x00\x01a\x00x", "what was not asked for"),
        ("a broker that answers pings that were not sent", b"\x20\x03\x00\x00\x00" + b"\xd0\x00" * 500, "what was not asked for"),
    ):
        port, count = serve(answer)
        other = Agent(at, broker, "pi-2", port=port)
        must(until(lambda: expected in other.journal()), f"{what}: {other.journal().strip().splitlines()[-1][-100:] if other.journal() else ''}")
        time.sleep(1)
        must(count[0] <= 2, f"     and the agent does not connect again and again ({count[0]} connections)")
        other.end()
        os.unlink(other.log)
    must(until(lambda: "no answer to TLS" in patient.journal()), "a TLS handshake of single bytes is given up (limit 20 s)")
    patient.end()
    slow = SlowTls(f"{broker.authority.at}/broker.pem", f"{broker.authority.at}/broker.key", in_handshake=False)
    other = Agent(at, broker, "pi-2", "--mqtt", "3.1.1", port=slow.port)
    must(until(lambda: slow.is_trickling and "connected" in other.journal()), "a broker that sends a TLS record in single bytes is connected")
    other.write(image("slow:1"))
    must(until(lambda: b"slow:1" in slow.received), "     a new state is published to it")
    begun = time.monotonic()
    must(other.end() == 0, f"     the agent ends all the same ({time.monotonic() - begun:.1f} s)")
    plain = socket.create_server(("127.0.0.1", 0))
    def answer_plain():
        while True:
            connection, _ = plain.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    threading.Thread(target=answer_plain, daemon=True).start()
    other = Agent(at, broker, "pi-2", port=plain.getsockname()[1])
    must(until(lambda: "does not speak TLS" in other.journal()), "a port without TLS is reported as such")
    started = time.monotonic()
    other.end()
    must(time.monotonic() - started < 1.5, "the agent ends at once while it waits for its next attempt")


def random_changes(broker, at):
    print("-- 1,000 random changes, the broker killed ten times")
    dice = random.Random(18)
    names = [f"pi-{number}" for number in range(3, 8)]
    for name in names:
        broker.authority.issue(name)
    agents = [Agent(at, broker, name) for name in names]
    kinds = [("Done", "Pulled", {}), ("Done", "Up to date", {}), ("Warning", "Newer image", {}), ("Error", "Failed", {"kind": "disk-full", "details": "no space left", "attempts": 4})]
    killed = 0
    for change in range(1000):
        agent, name = dice.choice(agents), f"app:{dice.randrange(6)}"
        what = dice.randrange(10)
        path = f"{agent.state}/{state_name(name)}.json"
        if what == 0 and os.path.exists(path):
            os.unlink(path)
        elif what < 3:
            agent.write(working(name, dice.randrange(1000)))
        else:
            status, text, more = dice.choice(kinds)
            agent.write(image(name, status, text, digest=f"sha256:{change:064x}", received=change, **more))
        if change % 100 == 50:
            broker.kill()
            if dice.randrange(2):
                broker.forget()
            killed += 1
        if change % 100 == 60:
            broker.start()
        time.sleep(dice.random() * 0.08)
    # The state of a pull is published again every 15 seconds, with another `beat`; so all pulls end before the comparison.
    for agent in agents:
        for number in range(6):
            agent.write(image(f"app:{number}", text=dice.choice(["Pulled", "Up to date"]), digest=f"sha256:{dice.randrange(9):064x}", failures=number + 1))
    watch = Watch(broker)

    def difference():
        wrong = []
        for agent in agents:
            published = {row["id"]: row for row in watch.state(agent.name).get("images", [])}
            kept = {state["id"]: published_fields(state) for state in (json.load(open(f"{agent.state}/{file}")) for file in os.listdir(agent.state) if file.endswith(".json"))}
            for rows in published, kept:
                for row in rows.values():
                    row.pop("time", None), row.pop("checked", None)
            if published != kept:
                wrong.append(agent.name)
        return wrong

    # The waits grow up to five minutes, until a connection lasts for a minute.
    until(lambda: not difference(), 330)
    must(killed == 10 and difference() == [], f"the broker has exactly the states in the files of {len(agents)} agents (it was killed {killed} times; differences: {difference()})")
    for agent in agents:
        lines = agent.journal().count("\n")
        must(agent.process.poll() is None and lines <= 25, f"{agent.name}: {lines} lines in the journal")
        agent.end()


class Device:
    """A device with a real systemd (tests/lab/device.sh) in the network of this process. Its files are below `root`, and can be
    changed there before `boot`."""

    # Each line of input is one step; the end of the input ends the device.
    STEPS = """
        . "$1"
        trap 'end_device pi-1' EXIT
        make_device pi-1
        echo "$devices/pi-1/system"
        read -r _
        boot_device pi-1 pi-1
        echo "${device_init[pi-1]}"
        read -r _
    """

    def __init__(self, directory):
        more = {"devices": directory, "network": str(os.getpid())}
        self.shell = begin(["bash", "-c", self.STEPS, "bash", f"{ROOT}/tests/lab/device.sh"], env={**os.environ, **more}, text=True,
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.root = self.shell.stdout.readline().strip()

    def boot(self):
        print(file=self.shell.stdin, flush=True)
        self.init = self.shell.stdout.readline().strip()
        return until(self.systemd)

    def systemd(self):
        return run("pgrep", "-P", self.init, "-x", "systemd").stdout.strip()

    def inside(self, *command):
        return run("nsenter", "-t", self.systemd(), "-m", "-p", "-u", "-i", "-C", "-r", "-w", *command)

    def end(self):
        self.shell.stdin.close()
        self.shell.wait()


class Hook(http.server.ThreadingHTTPServer):
    """A webhook on loopback; what it is sent is appended to `posted`."""

    def __init__(self, posted):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append(self.rfile.read(int(self.headers["content-length"])).decode())
                self.send_response(204)
                self.end_headers()

            log_message = lambda *_: None

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def unit(broker, at, watch):
    """The unit of the package, under a real systemd."""
    print("-- the unit under systemd")
    device = Device(at)
    root, inside = device.root, device.inside
    try:
        shutil.rmtree(f"{root}/var/lib/private", ignore_errors=True)
        shutil.copy(AGENT, f"{root}/usr/bin/alm-agent")
        shutil.copy(f"{ROOT}/deploy/debian/alm-agent.service", f"{root}/lib/systemd/system/alm-agent.service")
        os.makedirs(f"{root}/etc/alm-keys", mode=0o700), os.makedirs(f"{root}/etc/systemd/system/alm-agent.service.d"), os.makedirs(f"{root}/var/lib/alm/pull")
        shutil.copy(broker.authority.ca, f"{root}/etc/alm-keys/ca.pem")
        for end in "pem", "key":
            shutil.copy(f"{broker.authority.at}/pi-1.{end}", f"{root}/etc/alm-keys/cert.{end}")
            os.chmod(f"{root}/etc/alm-keys/cert.{end}", 0o600)
        posted = []
        hook = Hook(posted)
        with open(os.open(f"{root}/etc/alm-keys/notify", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(f"http://127.0.0.1:{hook.server_port}/hook\n")
        with open(f"{root}/etc/systemd/system/alm-agent.service.d/credentials.conf", "w") as file:
            file.write("[Service]\nLoadCredential=ca:/etc/alm-keys/ca.pem\nLoadCredential=cert:/etc/alm-keys/cert.pem\nLoadCredential=key:/etc/alm-keys/cert.key\n"
                       "LoadCredential=notify:/etc/alm-keys/notify\nExecStart=\nExecStart=/usr/bin/alm-agent --ca ${CREDENTIALS_DIRECTORY}/ca "
                       "--cert ${CREDENTIALS_DIRECTORY}/cert --key ${CREDENTIALS_DIRECTORY}/key --notify-file ${CREDENTIALS_DIRECTORY}/notify $ALM_AGENT_OPTIONS\n")
        write_state(f"{root}/var/lib/alm/pull", image("app:1", digest="sha256:unit"))
        verified = run("systemd-analyze", f"--root={root}", "verify", "alm-agent.service")
        must(all("man alm-agent(1)" in line for line in verified.stdout.splitlines()), f"systemd-analyze verify {verified.stdout.strip()[:200]}")
        level = re.search(r"level for alm-agent.service: ([0-9.]+)", run("systemd-analyze", f"--root={root}", "security", "--offline=true", "alm-agent.service").stdout)
        must(level and float(level[1]) < 4.0, f"systemd-analyze security: {level and level[1]} (under 4.0)")
        run("systemctl", "--quiet", f"--root={root}", "enable", "alm-agent.service")
        must(device.boot(), "systemd runs")
        shown = lambda: inside("systemctl", "show", "-p", "ConditionResult,MainPID,ActiveState,Result,NRestarts,ExecMainStatus", "alm-agent").stdout
        must(until(lambda: "ConditionResult=no" in shown() and "MainPID=0" in shown()), f"the unit does not start without /etc/default/alm-agent: {shown().split()}")
        with open(f"{root}/etc/default/alm-agent", "w") as file:
            file.write(f"ALM_AGENT_OPTIONS=\"--broker mqtts://localhost:{broker.port} --topic {TOPIC} --site 'Berlin, hall 2'\"\n")
        inside("systemctl", "start", "alm-agent")
        is_published = until(lambda: watch.online("pi-1") == "online" and watch.state("pi-1").get("site") == "Berlin, hall 2")
        must(is_published and watch.state("pi-1")["images"][0].get("digest") == "sha256:unit", f"with that file it connects from its sandbox and publishes its state: {shown().split()} {'' if is_published else inside('journalctl', '-q', '-o', 'cat', '-u', 'alm-agent').stdout[-600:]}")
        pid = re.search(r"MainPID=(\d+)", shown())[1]
        who = inside("sh", "-c", f"grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status").stdout.split()
        must("0" not in who[1:5] and "0000000000000000" in who, f"it runs without privileges, as a dynamic user: {' '.join(who)}")
        write_state(f"{root}/var/lib/alm/pull", image("bad:1", "Error", "Failed", kind="network", details="gone", failing_since=stamp(7200), attempts=3))
        must(until(lambda: any("bad:1 cannot be pulled: gone" in text for text in posted), 90), f"a notice is delivered from the same sandbox {posted}")
        broker.kill()
        time.sleep(2)
        broker.start()
        began, watch = time.monotonic(), Watch(broker)
        is_back = until(lambda: watch.online("pi-1") == "online" and len(watch.state("pi-1").get("images", [])) == 2, 60)
        must(is_back and f"MainPID={pid}" in shown(), f"after the broker was killed, the same process is connected again within {time.monotonic() - began:.1f} s")
        inside("systemctl", "stop", "alm-agent")
        must(until(lambda: watch.online("pi-1") == "offline", 10), "it publishes offline when the unit is stopped")
        with open(f"{root}/etc/default/alm-agent", "w") as file:
            file.write("ALM_AGENT_OPTIONS=\"--nonsense\"\n")
        inside("systemctl", "start", "alm-agent")
        time.sleep(7)
        must("NRestarts=0" in shown() and "ActiveState=failed" in shown(), f"systemd does not restart it after wrong options: {shown().split()}")
    finally:
        device.end()


def figure(pid, name):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def many(broker, at, count):
    print(f"-- {count} agents")
    names = [f"pi-{number:05}" for number in range(count)]
    agents = []
    for name in names:
        broker.authority.issue(name)
        agent = Agent(at, broker, name, wait=False)
        agent.write(image("app:1", digest="sha256:1"))
        agent.write(image("web:2", "Error", "Failed", kind="disk-full", details="no space left on device"))
        agents.append(agent)
    for agent in agents:
        agent.start()
    watch = Watch(broker)
    all_there = lambda: sum(1 for name in names if watch.online(name) == "online" and watch.state(name).get("images"))
    must(until(lambda: all_there() == count, 120), f"{all_there()} agents are online")
    time.sleep(10)
    before = [cpu(agent.process.pid) for agent in agents]
    time.sleep(30)
    used = sorted(cpu(agent.process.pid) - start for agent, start in zip(agents, before))
    memory = sorted(figure(agent.process.pid, "VmRSS") for agent in agents)
    private = sorted(figure(agent.process.pid, "RssAnon") for agent in agents)
    print(f"     an idle agent: resident {memory[count // 2]} kB (private {private[count // 2]} kB), CPU {100 * sum(used) / count / 30:.3f} % of a core")
    print(f"     the broker: resident {figure(broker.process.pid, 'VmRSS')} kB")
    broker.kill()
    broker.forget()
    time.sleep(3)
    broker.start()
    started = time.monotonic()
    watch = Watch(broker)
    must(until(lambda: all_there() == count, 120), f"{all_there()} agents are online again {time.monotonic() - started:.1f} s after the broker was started with an empty database; CPU time of the broker {cpu(broker.process.pid):.2f} s")
    must(time.monotonic() - started < 60, "all of them were online again within a minute")
    for agent in agents:
        agent.process.terminate()
    must([agent.process.wait(20) for agent in agents] == [0] * count, "all agents end with exit code 0")


def main():
    mode = sys.argv[1:2]
    at = tempfile.mkdtemp(prefix="alm-broker-")
    os.chmod(at, 0o755)
    try:
        authority = Authority(f"{at}/ca")
        broker = Broker(f"{at}/broker", authority).start()
        for name in "pi-1", "pi-2":
            authority.issue(name)
        if not mode:
            watch = Watch(broker)
            agent = Agent(at, broker, "pi-1", "--site", "Berlin / Küche")
            states(broker, agent, watch, at)
            accounts(broker, agent, watch, at)
            notices(broker, watch, at)
            watch = lost(broker, agent, at)
            renewed(broker, agent, watch, at)
            others(broker, at)
            revoked(broker, at, Watch(broker))
        elif mode == ["unit"]:
            unit(broker, at, Watch(broker))
        elif mode == ["random"]:
            random_changes(broker, at)
        elif mode == ["many"] and len(sys.argv) == 3:
            many(broker, at, int(sys.argv[2]))
        else:
            sys.exit(__doc__)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(at, ignore_errors=True)
    print(f"{len(wrong)} checks failed" if wrong else "all checks passed")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    install()
    # A signal ends this script in the ordinary way, so that it cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    AGENT = agent_program()
    main()
