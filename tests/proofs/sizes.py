#!/usr/bin/env python3
"""What `alm-agent sizes` and `digest` cost, in figures: CPU, memory, and how long after the registry the answer is there.

    tests/proofs/sizes.py [RUNS]    asks a registry on loopback RUNS times in each way (100 unless told), then registries that mean
                                    harm, once each: less than a minute

AGENT=/path/of/alm-agent measures that program, as the static one in dist/; else one is built. WRITE=1 puts the tables into README.md
here. Fails where a budget is not kept: CPU 10 ms, the answer 50 ms after the registry's (both the median), 8 MB and half a second
above its limit with any registry.
"""

import hashlib, json, os, socket, ssl, statistics, subprocess, sys, tempfile, threading, time

# The modules beside this one leave nothing there.
sys.dont_write_bytecode = True
import agents
import broker as lab
import section

# Milliseconds; KB (1,000 bytes); seconds.
BUDGET_CPU, BUDGET_ANSWER, BUDGET_MEMORY, LIMIT, BUDGET_LATE = 10, 50, 8000, 1, 0.5
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
IMAGE, INDEX = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("manifest", "index"))
PLATFORMS = [("amd64", None), ("386", None), ("arm", "v5"), ("arm", "v6"), ("arm", "v7"), ("arm64", "v8")]


def digest(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def descriptor(kind, text, size):
    return {"mediaType": kind, "digest": digest(text), "size": size}


def manifests(layers):
    """Those of an image for each of the platforms, by digest, and their index under `latest`."""
    found, entries = {}, []
    for architecture, variant in PLATFORMS:
        platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        listed = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", f"{platform} {at}", 1_000_000 + at) for at in range(layers)]
        config = descriptor("application/vnd.oci.image.config.v1+json", str(platform), 7)
        text = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": listed})
        found[digest(text)] = text
        entries.append({**descriptor(IMAGE, text, len(text)), "platform": platform})
    found["latest"] = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    return found


def head(status, headers, length):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines) + "\r\n\r\n"


class Registry:
    """Serves these manifests; each answer in one piece, so that no acknowledgement is waited for."""

    def __init__(self, images, context=None, answer=None):
        self.images, self.context, self.handler, self.answered = images, context, answer or self.respond, 0.0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with client if self.context is None else self.context.wrap_socket(client, server_side=True) as stream:
                text = b""
                while received := stream.recv(4096):
                    text += received
                    if text[0] == 22:
                        # A TLS hello, which is tried first: answered as Go's servers do.
                        stream.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                        return
                    if text.endswith(b"\r\n\r\n"):
                        self.handler(stream, text.decode())
                        self.answered, text = time.monotonic(), b""
        except OSError:
            # The agent has closed the connection.
            pass

    def respond(self, stream, request):
        method, path, _ = request.split(" ", 2)
        has_token = "authorization: bearer for-everybody" in request.lower()
        if path.startswith("/token"):
            status, headers, body = "200 OK", {}, '{"token":"for-everybody","expires_in":300}'
        elif self.context and not has_token:
            status, headers, body = "401 Unauthorized", {"WWW-Authenticate": f'Bearer realm="https://{self.address}/token",service="lab"'}, ""
        else:
            _, _, name, _, version = path.split("/")
            body = self.images[name][version]
            status, headers = "200 OK", {"Content-Type": INDEX if version == "latest" else IMAGE, "Docker-Content-Digest": digest(body)}
        stream.sendall((head(status, headers, len(body)) + (body if method == "GET" else "")).encode())


def request_of(what, address, name, limit=4):
    info = {"RegistryConfig": {"InsecureRegistryCIDRs": [] if what[1] else ["127.0.0.0/8"]}}
    return json.dumps({"do": what[0], "image": f"{address}/{name}", "engine": "linux/arm64", "version": "28.5.2", "info": info,
                       "limit_ms": 1000 * limit}).encode()


def start(command, roots, stdout):
    environment = {"SSL_CERT_FILE": roots, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen([lab.AGENT, command], env=environment, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.DEVNULL)


def send(child, text):
    child.stdin.write(text)
    child.stdin.close()


def timed(registry, what, name, roots):
    """One run: milliseconds of CPU, from the request to the answer, and from the registry's last answer to it."""
    child = start(what[0], roots, subprocess.PIPE)
    begun = time.monotonic()
    send(child, request_of(what, registry.address, name))
    line = child.stdout.read()
    now = time.monotonic()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{what[0]} {name}: {line.decode()}")
    return 1000 * (used.ru_utime + used.ru_stime), 1000 * (now - begun), 1000 * (now - registry.answered)


def peak(what, address, name, roots, limit, wait):
    """The most memory of one run, in KB, its answer, and the seconds to that.

    The pipe for the answer is full, so that the agent waits with all it ever had while the kernel is asked. What rusage calls the
    peak would be that of this Python, which it was forked from."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    try:
        while True:
            filled += os.write(writer, b" " * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    child = start(what[0], roots, writer)
    os.close(writer)
    send(child, request_of(what, address, name, limit))
    time.sleep(wait)
    memory = agents.kilobytes(child.pid, "VmHWM")
    with open(reader, "rb") as answer:
        line = answer.read()[filled:]
    child.wait()
    return memory, json.loads(line)


def ways(at, runs):
    images = {"app": manifests(8), "large": manifests(127)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{at}/server.pem", f"{at}/server.key")
    secure, plain = Registry(images, context), Registry(images)
    with open(f"{at}/bundle.pem", "wb") as out:
        for file in BUNDLE, f"{at}/ca.pem":
            out.write(open(file, "rb").read())
    count = open(f"{at}/bundle.pem").read().count("BEGIN CERTIFICATE")
    print(f"alm-agent {agents.kind()}, {os.path.getsize(lab.AGENT):,} bytes; medians of {runs} runs, in brackets the slowest.\n")
    print("| | CPU, ms | the whole run, ms | answer after the registry's, ms | at most resident, KB |\n|---|---|---|---|---|")
    for text, registry, command, name, roots in [
        (f"`sizes`, https with a token, {count} authorities, 8 layers", secure, "sizes", "app", "bundle.pem"),
        ("the same, one authority", secure, "sizes", "app", "ca.pem"),
        (f"the same, {count} authorities, 127 layers", secure, "sizes", "large", "bundle.pem"),
        ("`sizes`, http, no login, 8 layers", plain, "sizes", "app", "bundle.pem"),
        (f"`digest`, https with a token, {count} authorities", secure, "digest", "app", "bundle.pem"),
    ]:
        what, roots = (command, registry is secure), f"{at}/{roots}"
        rows = [timed(registry, what, name, roots) for _ in range(runs)]
        columns = list(zip(*rows))
        memory, answer = peak(what, registry.address, name, roots, 4, 0.5)
        layers = 127 if name == "large" else 8
        budget(command == "digest" or len(answer["layers"]) == layers, f"{text}: {json.dumps(answer)[:100]}")
        cpu, whole, after = ("{:.1f} ({:.1f})".format(statistics.median(column), max(column)) for column in columns)
        print(f"| {text} | {cpu} | {whole} | {after} | {memory:,} |")
        budget(statistics.median(columns[0]) <= BUDGET_CPU, f"{text}: CPU {cpu} ms of {BUDGET_CPU}")
        budget(statistics.median(columns[2]) <= BUDGET_ANSWER, f"{text}: answer after {after} ms of {BUDGET_ANSWER}")
        budget(memory <= agents.BUDGET_MEMORY, f"{text}: {memory} KB of {agents.BUDGET_MEMORY}")


def endless(begin, more, rest=0.0):
    def answer(stream, _):
        stream.sendall(begin)
        while True:
            stream.sendall(more)
            time.sleep(rest)

    return answer


def body(text):
    return lambda stream, _: stream.sendall((head("200 OK", {}, len(text)) + text).encode())


def hostile(at):
    ok = b"HTTP/1.1 200 OK\r\n"
    layer = json.dumps({"digest": digest(""), "size": 1 << 63})
    layers = lambda count: '{"schemaVersion":2,"layers":[' + ",".join([layer] * count) + "]}"
    silence = lambda stream, _: time.sleep(3 * LIMIT)
    cases = [
        ("silence", silence),
        ("a body by the byte", endless(ok + b"Content-Length: 100000\r\n\r\n", b" ", 0.02)),
        ("headers by the line", endless(ok, b"x: y\r\n", 0.02)),
        ("headers without end", endless(ok, b"x: " + b"y" * 4000 + b"\r\n")),
        ("chunks without end", endless(ok + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\n    \r\n")),
        ("50 MB", endless(ok + b"Content-Length: 50000000\r\n\r\n", b" " * 4096)),
        ("20,000 layers", body(layers(20_000))),
        ("8,000 layers", body(layers(8_000))),
        ("half a million brackets", body("[" * 500_000)),
        ("an index of 4,000 entries, each of another platform", body('{"manifests":[' + ",".join(
            json.dumps({"digest": digest(""), "platform": {"os": "linux", "architecture": f"a{at}", "variant": "x" * 150}}) for at in range(4_000)) + "]}")),
        ("a megabyte of text as a name", body('{"manifests":[{"digest":"' + "x" * 1_000_000 + '"}]}')),
        ("a token of 60,000 characters", None),
        ("redirects in a circle", lambda stream, request: stream.sendall(
            head("307 Temporary Redirect", {"Location": request.split(" ")[1]}, 0).encode())),
    ]
    print("\n| a registry that answers with | `kind` | at most resident, KB |\n|---|---|---|")
    worst = 0
    for name, answer in cases:
        registry = Registry({}, None, answer or token_of(60_000))
        memory, answered = peak(("sizes", False), registry.address, "app", f"{at}/bundle.pem", LIMIT, LIMIT + BUDGET_LATE)
        worst = max(worst, memory)
        print(f"| {name} | {answered.get('kind')} | {memory:,} |")
        budget("error" in answered, f"{name}: {answered}")
        # Without the full pipe: it has ended by then.
        child = start("sizes", f"{at}/bundle.pem", subprocess.PIPE)
        begun = time.monotonic()
        send(child, request_of(("sizes", False), registry.address, "app", LIMIT))
        child.stdout.read()
        took = time.monotonic() - begun
        child.wait()
        budget(took <= LIMIT + BUDGET_LATE, f"{name}: {took:.2f} s of {LIMIT + BUDGET_LATE}")
    budget(worst <= BUDGET_MEMORY, f"at most {worst} KB of {BUDGET_MEMORY}")


def token_of(length):
    """A token that fills the request in which it is shown."""

    def answer(stream, request):
        host = next(line.split(" ")[1] for line in request.split("\r\n") if line.lower().startswith("host:"))
        if request.startswith("GET /token"):
            text = json.dumps({"token": "x" * length})
            stream.sendall((head("200 OK", {}, len(text)) + text).encode())
        else:
            stream.sendall(head("401 Unauthorized", {"WWW-Authenticate": f'Bearer realm="http://{host}/token"'}, 0).encode())

    return answer


def certificates(at):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=at)
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=lab authority")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=lab registry")
    with open(f"{at}/extensions", "w") as file:
        file.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "server.pem")


budget = agents.budget


def main():
    if len(sys.argv) > 2 or not all(word.isdecimal() for word in sys.argv[1:]):
        sys.exit(__doc__)
    runs = int(sys.argv[1]) if sys.argv[1:] else 100
    lab.AGENT = lab.agent_program()
    with tempfile.TemporaryDirectory(prefix="alm-sizes-") as at:
        certificates(at)
        with section.written("sizes", True, runs >= 100):
            ways(at, runs)
            hostile(at)
    sys.exit(1 if lab.wrong else 0)


if __name__ == "__main__":
    main()
