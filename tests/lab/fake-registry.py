#!/usr/bin/env python3
"""A registry on loopback that speaks TLS, until it is ended: fake-registry.py DIR

Makes an authority and its certificate with openssl, in DIR: ca.pem is the authority. Once it listens, 127.0.0.1:PORT stands in
DIR/address. It has one image, app:latest, of two layers, for those who show a token; the token is for everybody.
"""

import hashlib, http.server, json, os, ssl, subprocess, sys

if len(sys.argv) != 2:
    print("usage: fake-registry.py DIR", file=sys.stderr)
    sys.exit(2)
os.chdir(sys.argv[1])
KIND = "application/vnd.oci.image.manifest.v1+json"
LAYERS = [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + digit * 64, "size": size}
          for digit, size in (("a", 5_001_727), ("b", 300))]
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "c" * 64, "size": 7}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": CONFIG, "layers": LAYERS}).encode()


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        host = self.headers["Host"]
        if self.path.startswith("/token?"):
            self.answer(200, b'{"token":"for-everybody"}', {"Content-Type": "application/json"})
        elif self.headers["Authorization"] != "Bearer for-everybody":
            self.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="https://{host}/token",service="lab"'})
        elif self.path == "/v2/app/manifests/latest":
            self.answer(200, MANIFEST, {"Content-Type": KIND, "Docker-Content-Digest": "sha256:" + hashlib.sha256(MANIFEST).hexdigest()})
        else:
            self.answer(404, b"", {})

    do_HEAD = do_GET

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=lab authority")
openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=lab registry")
with open("extensions", "w") as file:
    file.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "extensions", "-out", "server.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
with open("address.new", "w") as file:
    file.write("127.0.0.1:%d" % server.server_address[1])
os.rename("address.new", "address")
server.serve_forever()
