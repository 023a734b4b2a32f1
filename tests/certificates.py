"""A throw-away certificate authority for tests, made with OpenSSL."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import need_tool

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as OpenSSL prints it."""
        line = _openssl("x509", "-in", str(self.certificate), "-noout", "-fingerprint", "-sha256")
        return line.strip().split("=", 1)[1]

    def serving(self, clients: Path | None = None) -> ssl.SSLContext:
        """For a server that shows this certificate, and wants one of its clients that this authority signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context


def _openssl(*words: str) -> str:
    command = [need_tool("openssl"), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class Authority:
    """Signs certificates for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        words = ["-x509", *_CURVE, "-days", "2", "-subj", f"/CN={name}"]
        _openssl("req", *words, "-keyout", str(self._key), "-out", str(self.certificate))

    def sign(self, name: str, days: int = 2) -> Certificate:
        """A certificate for server and client use."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *_CURVE, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request))
        words = ["-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"]
        words += ["-days", str(days), "-extfile", str(extensions), "-out", str(made.certificate)]
        _openssl("x509", *words)
        return made
