"""Ports that nobody listens on, outside the range from which the kernel takes outgoing ones."""
import random
import socket

_chosen = random.SystemRandom()
_taken = set()


def free_port():
    for _ in range(1000):
        port = _chosen.randrange(12000, 32000)
        if port in _taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
    raise AssertionError("no free port in 1000 tries")
