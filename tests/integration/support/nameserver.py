"""A name server with a script: what it answers, and how it fails, can change at any time."""
import socket
import struct
import threading

from .ports import free_port

A, CNAME, AAAA, SRV = 1, 5, 28, 33
TYPES = {"A": A, "CNAME": CNAME, "AAAA": AAAA, "SRV": SRV}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
UDP_WITHOUT_EDNS = 512


def encode(name):
    labels = [label.encode() for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels).lower(), at + 1


def data(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "CNAME":
        return encode(value)
    priority, weight, port, target = value.split()
    return struct.pack(">HHH", int(priority), int(weight), int(port)) + encode(target)


class NameServer:
    """On 127.0.0.1, by UDP and TCP.  `records` are (name, type, ttl, value); a value of SRV records
    is "PRIORITY WEIGHT PORT TARGET".  `fault`: None, a response code, "silent" or "garbage"."""

    def __init__(self, *records, host="127.0.0.1", port=None):
        self.host, self.port = host, port or free_port()
        self.records, self.fault, self.additional, self.truncate = list(records), None, False, False
        self.questions = []  # (name, type, "udp" or "tcp"), as they came
        self.edns = []  # sizes that were announced
        self._ended = threading.Event()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (self._udp, self._tcp):
            one.bind((host, self.port))
            one.settimeout(0.1)
        self._tcp.listen()
        self._threads = [threading.Thread(target=serve, daemon=True)
                         for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def asked(self, kind, by=None):
        return sum(1 for _, one, how in self.questions if one == kind and by in (None, how))

    def end(self):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    # -- answers -------------------------------------------------------------------------------

    def _matching(self, name, kind):
        return [record for record in list(self.records)
                if record[0].lower() == name and record[1] in (kind, "CNAME")]

    def _put(self, record):
        name, kind, ttl, value = record
        content = data(kind, value)
        return encode(name) + struct.pack(">HHIH", TYPES[kind], 1, ttl, len(content)) + content

    def _answer(self, question, by):
        if len(question) < 12 or self.fault == "silent":
            return None
        number, _, _, _, _, extra = struct.unpack(">HHHHHH", question[:12])
        name, end = decode(question, 12)
        kind = {value: key for key, value in TYPES.items()}.get(
            struct.unpack(">H", question[end:end + 2])[0], "other")
        self.questions.append((name, kind, by))
        size = UDP_WITHOUT_EDNS
        if extra:
            size = struct.unpack(">H", question[end + 4 + 3:end + 4 + 5])[0]
            self.edns.append(size)
        head = question[12:end + 4]
        if self.fault == "garbage":
            return struct.pack(">HHHHHH", number, 0x8180, 1, 3, 0, 0) + head + b"\xc0"
        if self.fault is not None:
            return struct.pack(">HHHHHH", number, 0x8180 | self.fault, 1, 0, 0, 0) + head
        answers = self._matching(name, kind)
        for record in answers:
            if record[1] == "CNAME" and kind != "CNAME":
                answers = answers + self._matching(record[3].strip("."), kind)
        more = [record for answer in answers if self.additional and answer[1] == "SRV"
                for address in ("A", "AAAA")
                for record in self._matching(answer[3].split()[3].strip("."), address)]
        known = any(record[0].lower() == name for record in list(self.records))
        code = 0 if known else NXDOMAIN
        body = b"".join(self._put(record) for record in answers + more)
        whole = struct.pack(">HHHHHH", number, 0x8180 | code, 1, len(answers), 0,
                            len(more)) + head + body
        if by == "udp" and (self.truncate or len(whole) > size):
            return struct.pack(">HHHHHH", number, 0x8380 | code, 1, 0, 0, 0) + head
        return whole

    def _serve_udp(self):
        while not self._ended.is_set():
            try:
                question, peer = self._udp.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(question, "udp")
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self):
        while not self._ended.is_set():
            try:
                peer, _ = self._tcp.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve_one, args=(peer,), daemon=True).start()

    def _serve_one(self, peer):
        with peer:
            peer.settimeout(5)
            try:
                stream = peer.makefile("rwb")
                while not self._ended.is_set():
                    size = stream.read(2)
                    if len(size) < 2:
                        return
                    answer = self._answer(stream.read(struct.unpack(">H", size)[0]), "tcp")
                    if answer is None:
                        return
                    stream.write(struct.pack(">H", len(answer)) + answer)
                    stream.flush()
            except OSError:
                return
