"""A broker whose TLS moves by the byte, as on a connection that is all but dead, or by somebody who means harm."""

import socket, ssl, struct, threading, time

PAUSE = 0.05  # s between two bytes: below every time-out of a single read


class SlowTls:
    """Accepts connections on `port`. Sends its part of the handshake by the byte; or is a good broker of MQTT 3.1.1 until its
    client has published its first state, and then sends one large record by the byte, while it reads and counts what comes."""

    def __init__(self, cert, key, in_handshake):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.in_handshake, self.is_trickling, self.received = in_handshake, False, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)

        def send(slowly):
            data = outgoing.read()
            if not slowly:
                connection.sendall(data)
                return
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(PAUSE)

        def ask(what):
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    send(self.in_handshake)
                    data = connection.recv(65536)
                    if not data:
                        raise OSError("closed")
                    incoming.write(data)

        try:
            ask(tls.do_handshake)
            send(self.in_handshake)
            pending, answered = b"", 0
            while True:
                pending += ask(lambda: tls.read(65536))
                while len(pending) >= 2:
                    length, shift, at = 0, 0, 1
                    while at < len(pending) and at < 5:
                        length |= (pending[at] & 127) << shift
                        shift, at = shift + 7, at + 1
                        if not pending[at - 1] & 128:
                            break
                    if len(pending) < at + length:
                        break
                    kind, body, pending = pending[0], pending[at : at + length], pending[at + length :]
                    self.received += body
                    if kind >> 4 == 1:
                        answer = b"\x20\x02\x00\x00"
                    elif kind >> 4 == 3 and kind & 6:
                        topic = struct.unpack("!H", body[:2])[0]
                        answer = b"\x40\x02" + body[2 + topic : 4 + topic]
                    else:
                        continue
                    if self.is_trickling:
                        # Bytes of a second record would come within the first one.
                        continue
                    tls.write(answer)
                    send(False)
                    answered += 1
                    # CONNECT, `online`, and the first state.
                    if answered == 3:
                        self.trickle(tls, outgoing, connection)
        except (OSError, ssl.SSLError):
            pass

    def trickle(self, tls, outgoing, connection):
        self.is_trickling = True
        tls.write(b"\xd0\x00" * 8000)
        data = outgoing.read()

        def go():
            try:
                for byte in data:
                    connection.sendall(bytes([byte]))
                    time.sleep(PAUSE)
            except OSError:
                pass

        threading.Thread(target=go, daemon=True).start()
