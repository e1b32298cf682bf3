"""Scripted REST interfaces of Patroni: one port, an address for each server.

    rest = Rest(["127.0.0.2", "127.0.0.3"])
    rest.says["127.0.0.2"] = {"/primary": 200}   # every other path: 503
    rest.says["127.0.0.3"] = Rest.SILENT
    rest.asked["127.0.0.2"]                      # the first lines of the requests
"""
import contextlib
import socket
import ssl
import threading

from .ports import free_port

REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}
BODY = b'{"state": "running", "role": "master", "tags": {}}'


def answer(status, body=BODY):
    return (f"HTTP/1.0 {status} {REASONS.get(status, 'Status')}\r\nServer: BaseHTTP/0.6\r\n"
            "Content-Type: application/json\r\n\r\n").encode() + body


class Rest:
    SILENT = "accepts, and answers nothing"
    REFUSES = "does not listen"

    def __init__(self, addresses, tls=None):
        """`tls`: a Certificate by which it is asked."""
        self.port, self.context = free_port(), None
        self.says = {address: {} for address in addresses}
        self.asked = {address: [] for address in addresses}
        self.listeners, self.ended = {}, threading.Event()
        if tls is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls.cert, tls.key)
        for address in addresses:
            self.listen(address)

    def listen(self, address):
        listener = socket.create_server((address, self.port))
        self.listeners[address] = listener
        threading.Thread(target=self._serve, args=(address, listener), daemon=True).start()

    def refuse(self, address):
        listener = self.listeners.pop(address)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes up its accept()
        listener.close()

    def remove(self):
        self.ended.set()
        for address in list(self.listeners):
            self.refuse(address)

    def leader(self, address):
        """Says that this one is the leader, and all others are replicas."""
        for other in self.says:
            self.says[other] = {"/primary": 200} if other == address else {"/replica": 200}

    def _serve(self, address, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(address, client), daemon=True).start()

    def _answer(self, address, client):
        with contextlib.suppress(OSError), contextlib.closing(client):
            if self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                piece = client.recv(4096)
                if not piece:
                    return
                request += piece
            line = request.split(b"\r\n")[0].decode()
            self.asked[address].append(line)
            says = self.says[address]
            if says == self.SILENT:
                self.ended.wait()
                return
            if isinstance(says, dict):
                says = answer(says.get(line.split()[1].split("?")[0], 503))
            client.sendall(says)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
