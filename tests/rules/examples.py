"""Configurations that a page shows, put to `trunkline check`.

A block of yaml may leave out `listen`, `services`, `routes` and `auth_file`: a frame
has them.  The files that it
names are made; absolute paths lead into the same folder.  A block that is marked `yaml fragment` is
no beginning of a file; its keys must exist all the same.
"""
import os
import re
import subprocess

import yaml
from pages import fences

FRAME = {
    "listen": "listen: [{host: 127.0.0.1, port: 6432}]\n",
    "services": "services: {main: {hosts: [\"127.0.0.1:5432\"]}}\n",
    "routes": "routes: [{service: main}]\n",
    "auth_file": "auth_file: users.txt\n",
}
USERS = '"app" "secret"\n"admin" "secret"\n"lookup" "secret"\n'
IDENT = "certs /^(.*)$ \\1\nlocal root app\n"
TEXTS = {"auth_file": USERS, "hba_file": "local all all peer\nhost all all all scram-sha-256\n",
         "ident_file": IDENT, "file": "secret\n", "path": ""}
PATHS = (*TEXTS, "cert", "key", "ca")


def certificate(folder):
    """A certificate with its key; also its own authority."""
    made = folder / "made.pem"
    if not made.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", made, "-out", folder / "cert.pem"],
                       check=True, capture_output=True)
        made.write_text(made.read_text() + (folder / "cert.pem").read_text())
        made.chmod(0o600)
    return made.read_text()


def named_files(tree):
    """Pairs of key and path, wherever they stand in a configuration."""
    if isinstance(tree, list):
        for part in tree:
            yield from named_files(part)
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in PATHS and isinstance(value, str):
                yield key, value
            elif key != "console":
                yield from named_files(value)


def completed(body, folder):
    """The text of a block as a whole file, and its files beside it."""
    tree = yaml.safe_load(body) or {}
    (folder / "users.txt").write_text(USERS)
    (folder / "users.txt").chmod(0o600)
    for key, name in set(named_files(tree)):
        file = folder / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if key != "path":
            file.write_text(TEXTS[key] if key in TEXTS else certificate(folder))
            file.chmod(0o600)
        if name.startswith("/"):
            body = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])", str(file), body)
    for key, text in FRAME.items():
        body += text if key not in tree else ""
    return body


def wrong_examples(path, text, trunkline, folder):
    """What `trunkline check` says against the page's configurations."""
    wrong = []
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("pass", "aws"):
        (programs / name).write_text("#!/bin/sh\necho secret\n")
        (programs / name).chmod(0o755)
    environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}", APP_PASSWORD="secret")
    for fence in fences(text):
        if fence.language != "yaml" or "fragment" in fence.marks:
            continue
        try:
            whole = completed(fence.body, folder)
        except yaml.YAMLError as why:
            wrong.append(f"{path.name}:{fence.line}: {why}")
            continue
        (folder / "example.yaml").write_text(whole)
        done = subprocess.run([trunkline, "check", folder / "example.yaml"], text=True,
                              capture_output=True, env=environment, timeout=60)
        if done.returncode != 0:
            wrong.append(f"{path.name}:{fence.line}: {done.stderr}")
    return wrong


def unknown_keys(path, text, known):
    """Keys of fragments that are no settings."""
    wrong = []
    for fence in fences(text):
        if fence.language != "yaml" or "fragment" not in fence.marks:
            continue
        for key in re.findall(r"(?:^|[{,]|- )\s*([a-z_0-9]+):(?=\s|$)", fence.body, re.M):
            if key not in known:
                wrong.append(f"{path.name}:{fence.line}: {key}")
    return wrong
