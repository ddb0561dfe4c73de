"""Certificates for a test cluster: an authority, one for the servers, one for a client. Made with openssl."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.cassandra_node.errors import CassandraUnavailable

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = embedshift
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:127.0.0.2, IP:127.0.0.3
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "3650")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a cluster with TLS.

    Args:
        ca: the authority that signed all certificates; what a client trusts.
        client_cert: a client's certificate, which the servers ask for.
        client_key: its key, without a passphrase.
        server: key and certificate of the servers, in one file as Cassandra wants it.
    """

    ca: Path
    client_cert: Path
    client_key: Path
    server: Path

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts the authority, checks the server's name, and shows the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client_cert, self.client_key)
        return context


def tls_files(folder: Path) -> TlsFiles:
    """The certificates in ``folder``, made there if it does not exist yet (all or nothing).

    Raises:
        CassandraUnavailable: openssl is not installed.
    """
    if not folder.is_dir():
        openssl = shutil.which("openssl")
        if openssl is None:
            raise CassandraUnavailable("openssl is not installed: it makes the certificates of a cluster with TLS")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="certificates-") as temporary:
            made = Path(temporary) / "tls"
            made.mkdir(mode=0o700)  # it contains keys
            _make(openssl, made)
            made.rename(folder)
    return TlsFiles(folder / "ca.pem", folder / "client.pem", folder / "client.key", folder / "server.keystore.pem")


def _make(openssl: str, folder: Path) -> None:
    (folder / "openssl.cnf").write_text(_CONFIG)
    _run(openssl, folder, "req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", *_NEW_KEY, *_DAYS,
         "-subj", "/CN=embedshift test authority", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    for who in ("server", "client"):
        _run(openssl, folder, "req", "-new", "-config", "openssl.cnf", *_NEW_KEY,
             "-subj", f"/CN=embedshift test {who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")  # fmt: skip
        _run(openssl, folder, "x509", "-req", *_DAYS, "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-extfile", "openssl.cnf", "-extensions", who, "-out", f"{who}.pem")  # fmt: skip
    parts = ("server.key", "server.pem", "ca.pem")
    (folder / "server.keystore.pem").write_text("".join((folder / part).read_text() for part in parts))


def _run(openssl: str, folder: Path, *arguments: str) -> None:
    # Without a default configuration of the machine: only what is above goes into a certificate.
    environment = {**os.environ, "OPENSSL_CONF": str(folder / "openssl.cnf")}
    done = subprocess.run(
        [openssl, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise CassandraUnavailable(f"openssl {arguments[0]} failed: {' '.join(done.stderr.split())}")
