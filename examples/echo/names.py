#!/usr/bin/env python3
"""A name server with a script: it reads the file again for each question.

    names.py SCRIPT        listens at a free UDP port of 127.0.0.1, prints "listening on port N"

Lines of the script:    srv NAME TTL PRIORITY WEIGHT PORT TARGET
                        a NAME TTL ADDRESS
                        fault servfail | refused | silent
"""
import socket
import struct
import sys
from pathlib import Path

A, SRV = 1, 33
CODES = {"servfail": 2, "refused": 5}
NO_SUCH_NAME = 3


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def question_of(message):
    """The name that is asked for, the type, and where the question ends."""
    parts, at = [], 12
    while message[at]:
        parts.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    kind, = struct.unpack(">H", message[at + 1:at + 3])
    return ".".join(parts).lower(), kind, at + 5


def record_of(words):
    kind, name, ttl = words[:3]
    if kind == "a":
        data = socket.inet_aton(words[3])
    else:
        data = struct.pack(">HHH", *map(int, words[3:6])) + encoded(words[6])
    number = A if kind == "a" else SRV
    return name, number, encoded(name) + struct.pack(">HHIH", number, 1, int(ttl), len(data)) + data


def answer(message, script):
    lines = [line.split() for line in script.read_text().splitlines() if line.strip()]
    faults = [words[1] for words in lines if words[0] == "fault"]
    if "silent" in faults:
        return None
    name, kind, end = question_of(message)
    records = [record_of(words) for words in lines if words[0] in ("a", "srv")]
    found = [data for owner, number, data in records if owner == name and number == kind]
    code = 0 if any(owner == name for owner, _, _ in records) else NO_SUCH_NAME
    if faults:
        found, code = [], CODES[faults[0]]
    head = struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0)
    return message[:2] + head + message[12:end] + b"".join(found)


def main():
    script = Path(sys.argv[1])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    print(f"listening on port {server.getsockname()[1]}", flush=True)
    while True:
        message, peer = server.recvfrom(4096)
        reply = answer(message, script)
        if reply is not None:
            server.sendto(reply, peer)


if __name__ == "__main__":
    main()
