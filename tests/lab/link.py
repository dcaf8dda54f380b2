#!/usr/bin/env python3
"""A link between an engine and what it talks to, on a loopback port of its own: as slow as one likes, and it can break.

usage: tests/lab/link.py TARGET [RATE]

TARGET is HOST:PORT, or the path of a Unix socket. All connections together move RATE bytes a second towards whoever
connected; 0, which is the default, sets no limit. The first line of output is the address of the link. Each line of
input is an order, and is answered by one line, `ok` unless said otherwise; the link ends with its input.

  rate RATE  from now on as fast as this
  stall      nothing moves any more, until the next rate
  reset      resets all connections
  down       the same, and nothing listens any more
  up         listens again, on the same port
  carried    answers how many bytes have come from the target

The Python scripts use the class.
"""

import socket
import struct
import sys
import threading
import time

PIECE = 16 << 10


def hang_up(connection):
    """Wakes whoever waits for it, so that it is closed: without a goodbye then, as a broken link looks."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not of both directions: that would say goodbye.
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass


class Link:
    """See above; `rate` and `carried` may be set at any time."""

    def __init__(self, target, rate=0):
        self.target, self.rate, self.carried = target, rate, 0
        self.listener = None
        self.stalled = False
        self.lock = threading.Lock()
        self.next = 0.0  # when the next bytes may pass
        self.pairs = set()  # the connections that stand, both ends of each
        self.port = 0
        self.up()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def up(self):
        if self.listener:
            return
        # With SO_REUSEADDR, so that the port can be taken again at once.
        listener = self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def down(self):
        if not self.listener:
            return
        listener, self.listener = self.listener, None
        # Only closed it would go on listening as long as a thread waits for it.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        self.reset()

    def reset(self):
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for connection in (end for pair in pairs for end in pair):
            hang_up(connection)

    def stall(self):
        self.stalled = True

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(listener, client), daemon=True).start()

    def connect(self, listener, client):
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = self.reach()
            except OSError:
                return
            with server:
                pair = (client, server)
                with self.lock:
                    if self.listener is not listener:
                        return
                    self.pairs.add(pair)
                up = threading.Thread(target=self.carry, args=(client, server, pair), daemon=True)
                up.start()
                self.carry(server, client, pair, is_held=True)
                up.join()
                with self.lock:
                    self.pairs.discard(pair)

    def reach(self):
        if not self.target.startswith("/"):
            host, port = self.target.rsplit(":", 1)
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.target)
        except OSError:
            server.close()
            raise
        return server

    def carry(self, source, sink, pair, is_held=False):
        """One direction, which may be held back and counted."""
        try:
            while data := source.recv(PIECE):
                if is_held:
                    self.wait(len(data), pair)
                sink.sendall(data)
            # One that was reset is only closed.
            if pair in self.pairs:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            hang_up(source)
            hang_up(sink)

    def wait(self, count, pair):
        while self.stalled and pair in self.pairs:
            time.sleep(0.002)
        with self.lock:
            self.carried += count
            if not self.rate:
                return
            now = time.monotonic()
            self.next = max(self.next, now) + count / self.rate
            pause = self.next - now
        time.sleep(pause)

    def order(self, what, *arguments):
        """Obeys one line of input; the answer."""
        if what == "rate":
            (rate,) = arguments
            self.rate, self.stalled = int(rate), False
        elif what == "carried":
            return self.carried
        elif what in ("stall", "reset", "down", "up") and not arguments:
            getattr(self, what)()
        else:
            raise ValueError(f"no such order: {what}")
        return "ok"


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__.strip())
    link = Link(sys.argv[1], *map(int, sys.argv[2:]))
    print(link.address, flush=True)
    for line in sys.stdin:
        print(link.order(*line.split()), flush=True)


if __name__ == "__main__":
    main()
