#!/usr/bin/env python3
"""A Docker Engine that knows one pull, on a Unix socket, until it is ended: fake-engine.py SOCKET CAPTURE [TIMES]

CAPTURE is a whole HTTP response as it came off the socket (.raw), or a recording (.jsonl), whose lines are sent as one
chunk each; its progress lines TIMES over, for a long pull.
"""

import json, socket, sys

if len(sys.argv) not in (3, 4):
    print("usage: fake-engine.py SOCKET CAPTURE [TIMES]", file=sys.stderr)
    sys.exit(2)
path, capture, times = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["1"])[0])
PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(lines):
    for line in lines:
        yield from [b"%x\r\n%s\r\n\r\n" % (len(line) + 2, line)] * (times if b'"current"' in line else 1)


if capture.endswith(".jsonl"):
    rows = [json.loads(row) for row in open(capture)]
    lines = [json.dumps(row[2], separators=(",", ":")).encode() for row in rows[1:] if row[1] == "e"]
    pull = HEAD + b"".join(chunked(lines)) + b"0\r\n\r\n"
else:
    pull = open(capture, "rb").read()

server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
while True:
    client, _ = server.accept()
    request = b""
    while b"\r\n\r\n" not in request and (more := client.recv(4096)):
        request += more
    try:
        client.sendall(pull if b"/images/create?" in request else PING)
    except OSError:
        pass  # the client has disconnected during the pull
    client.close()
