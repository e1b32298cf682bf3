"""A bad network between two sides: slow, stuck, cut, or handing on few bytes at a time."""
import selectors
import socket
import threading

from .ports import free_port


class Proxy:
    """Forwards 127.0.0.1:port to an address until told to misbehave.

    `piece` limits how many bytes go in one send; stuck() stops one or both directions without
    closing anything; cut() resets every connection.
    """

    def __init__(self, host, port, piece=65536):
        self.target = (host, port)
        self.piece = piece
        self.port = free_port()
        self.halted = set()
        self.bytes = {"up": 0, "down": 0}
        self.connections = 0
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._lock = threading.Lock()
        self._done = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done = True
        self._bell.send(b"x")
        self._thread.join()
        self.cut()
        for item in (self._listener, self._bell, self._ear, self._selector):
            item.close()

    def stuck(self, *ways):
        """"up" is towards the target; none: both."""
        self.halted = set(ways or ("up", "down"))
        self._bell.send(b"x")

    def flow(self):
        self.halted = set()
        self._bell.send(b"x")

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _run(self):
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._ear, selectors.EVENT_READ, lambda: self._ear.recv(100))
        paused = {}
        while not self._done:
            for key, _ in self._selector.select():
                way = getattr(key.data, "way", None)
                if way in self.halted:
                    paused[key.fileobj] = key.data
                    self._selector.unregister(key.fileobj)
                else:
                    key.data()
            for end in [e for e, data in paused.items() if data.way not in self.halted]:
                self._selector.register(end, selectors.EVENT_READ, paused.pop(end))

    def _accept(self):
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self.target)
        except OSError:
            near.close()
            return
        self.connections += 1
        with self._lock:
            self._pairs.append((near, far))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(near, selectors.EVENT_READ, _Pump(self, near, far, "up"))
        self._selector.register(far, selectors.EVENT_READ, _Pump(self, far, near, "down"))


class _Pump:
    def __init__(self, proxy, source, sink, way):
        self.proxy, self.source, self.sink, self.way = proxy, source, sink, way

    def __call__(self):
        try:
            data = self.source.recv(self.proxy.piece)
            if data:
                self.proxy.bytes[self.way] += len(data)  # the receiver may look at once
                self.sink.sendall(data)
                return
        except OSError:
            data = b""
        self.proxy._selector.unregister(self.source)
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
