"""Ports of loopback for servers that do not choose one themselves."""

import socket


def free_ports(count):
    """Free ports. All of them are bound until the function returns, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
