"""A front that speaks TLS from the first byte and hands plain text on, as a newer server would."""
import socket
import ssl
import threading


class DirectFront:
    """127.0.0.1:port, in front of an address.  `protocols` are what it agrees to by ALPN."""

    def __init__(self, certificate, target, protocols=("postgresql",)):
        self.target = target
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.cert, certificate.key)
        if protocols:
            self.context.set_alpn_protocols(list(protocols))
        self.seen = []  # of each connection: ALPN and TLS version
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut(self.listener)
        for end in [self.listener, *self.ends]:
            end.close()

    def cut(self, *more):
        """Ends every connection, without a goodbye of TLS."""
        for end in [*more, *self.ends]:
            try:
                socket.socket.shutdown(end, socket.SHUT_RDWR)
            except OSError:
                pass

    def _run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            near.settimeout(15)
            near = self.context.wrap_socket(near, server_side=True)
            near.settimeout(None)
            self.seen.append((near.selected_alpn_protocol(), near.version()))
            far = socket.create_connection(self.target)
        except OSError:
            near.close()
            return
        self.ends += [near, far]
        threading.Thread(target=_pump, args=(far, near), daemon=True).start()
        _pump(near, far)


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except (OSError, ValueError):
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
