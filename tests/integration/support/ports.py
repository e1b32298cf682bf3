"""Ports that nobody listens on, outside the range from which the kernel takes outgoing ones.

Workers that test side by side choose from parts of their own: a port is free from its choice until
somebody listens, and two that chose the same would both find it so.
"""
import os
import random
import socket

_chosen = random.SystemRandom()
_taken = set()
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _workers


def free_port():
    for _ in range(1000):
        port = _chosen.randrange(12000 + _worker, 32000, _workers)
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
