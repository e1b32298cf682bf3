"""A certificate authority that lives for one test session."""
import subprocess
from pathlib import Path


def openssl(*words):
    subprocess.run(["openssl", *[str(word) for word in words]], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Certificate:
    """A key with its certificate, signed by an authority (or by itself, then it is one)."""

    def __init__(self, folder, name, authority=None, names="DNS:localhost,IP:127.0.0.1"):
        folder = Path(folder)
        self.cert, self.key = folder / f"{name}.crt", folder / f"{name}.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        if authority is None:
            openssl("req", "-x509", "-new", "-key", self.key, "-out", self.cert, "-days", 2,
                    "-subj", f"/CN={name}")
        else:
            request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
            extra.write_text(f"subjectAltName={names}\n")
            openssl("req", "-new", "-key", self.key, "-out", request, "-subj", f"/CN={name}")
            openssl("x509", "-req", "-in", request, "-CA", authority.cert, "-CAkey", authority.key,
                    "-CAcreateserial", "-out", self.cert, "-days", 2, "-extfile", extra)
        self.key.chmod(0o600)
