"""A TLS client by OpenSSL itself, for what Python's ssl module can't ask of it."""
import ctypes
import ctypes.util
import select

from .patience import PATIENCE

ssl = ctypes.CDLL(ctypes.util.find_library("ssl"))
for name, result, *arguments in [
    ("TLS_client_method", ctypes.c_void_p),
    ("SSL_CTX_new", ctypes.c_void_p, ctypes.c_void_p),
    ("SSL_CTX_free", None, ctypes.c_void_p),
    ("SSL_new", ctypes.c_void_p, ctypes.c_void_p),
    ("SSL_free", None, ctypes.c_void_p),
    ("SSL_set_fd", ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
    ("SSL_ctrl", ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p),
    ("SSL_connect", ctypes.c_int, ctypes.c_void_p),
    ("SSL_write", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    ("SSL_read", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    ("SSL_key_update", ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
    ("SSL_renegotiate", ctypes.c_int, ctypes.c_void_p),
    ("SSL_do_handshake", ctypes.c_int, ctypes.c_void_p),
    ("SSL_shutdown", ctypes.c_int, ctypes.c_void_p),
    ("SSL_get_error", ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
]:
    function = getattr(ssl, name)
    function.restype, function.argtypes = result, arguments

WANT_READ, WANT_WRITE, ZERO_RETURN = 2, 3, 6
SET_MAX_VERSION, TLS_1_2 = 124, 0x0303
SET_MODE, PARTIAL_AND_MOVING = 33, 3


class Session:
    """Stands in for a socket.  Everything but some() and now() waits, as long as tests do."""

    def __init__(self, socket, newest=None):
        self.socket = socket
        self.context = ssl.SSL_CTX_new(ssl.TLS_client_method())
        self.session = ssl.SSL_new(self.context)
        if newest:
            ssl.SSL_ctrl(self.session, SET_MAX_VERSION, newest, None)
        ssl.SSL_ctrl(self.session, SET_MODE, PARTIAL_AND_MOVING, None)
        ssl.SSL_set_fd(self.session, socket.fileno())
        socket.setblocking(False)
        self._wait(lambda: ssl.SSL_connect(self.session))

    def _wants(self, result):
        """What a call that did not go on waits for; None: it is the end."""
        error = ssl.SSL_get_error(self.session, result)
        if error == ZERO_RETURN:
            return None
        if error not in (WANT_READ, WANT_WRITE):
            raise ConnectionResetError(f"OpenSSL error {error}")
        return error

    def _wait(self, call):
        """Its result; None for the other side's goodbye."""
        while (result := call()) <= 0:
            wants = self._wants(result)
            if wants is None:
                return None
            ends = {wants: [self.socket]}
            if not any(select.select(ends.get(WANT_READ, ()), ends.get(WANT_WRITE, ()), (), PATIENCE)):
                raise TimeoutError
        return result

    def some(self, data):
        """Writes what can be written at once; the number of bytes."""
        result = ssl.SSL_write(self.session, data, len(data))
        if result > 0:
            return result
        self._wants(result)
        return 0

    def now(self, size):
        """What can be read at once; b"" for an end, None for nothing."""
        room = ctypes.create_string_buffer(size)
        result = ssl.SSL_read(self.session, room, size)
        if result > 0:
            return room.raw[:result]
        return b"" if self._wants(result) is None else None

    def sendall(self, data):
        while data:
            data = data[self._wait(lambda: ssl.SSL_write(self.session, data, len(data))):]

    def recv(self, size):
        room = ctypes.create_string_buffer(size)
        result = self._wait(lambda: ssl.SSL_read(self.session, room, size))
        return room.raw[:result] if result else b""

    def update_keys(self, ask_the_same=True):
        """The next write has new keys, and asks the other side for new ones.

        Not while one waits that could not go on."""
        assert ssl.SSL_key_update(self.session, int(ask_the_same)) == 1

    def renegotiate(self):
        """The other side has to refuse it."""
        assert ssl.SSL_renegotiate(self.session) == 1
        self._wait(lambda: ssl.SSL_do_handshake(self.session))

    def say_goodbye(self):
        ssl.SSL_shutdown(self.session)

    def close(self):
        if self.session:
            ssl.SSL_free(self.session)
            ssl.SSL_CTX_free(self.context)
            self.session = self.context = None
        self.socket.close()
