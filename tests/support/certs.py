"""A certificate authority of the tests' own, and server certificates good and bad."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """PEM files of one server: the chain, its own certificate first, and the key."""

    chain: Path
    key: Path

    def context(self, *protocols: str) -> ssl.SSLContext:
        """For a server over TLS with this certificate; ``protocols`` by their ALPN names, HTTP/1.1 by default."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        context.set_alpn_protocols(list(protocols or ("http/1.1",)))
        return context


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority's file, as for ``--cacert``, and what it did and did not sign."""

    file: Path
    good: ServerCertificate
    """For localhost, 127.0.0.1, ::1 and what else was asked for."""
    expired: ServerCertificate
    wrong_host: ServerCertificate
    """Signed and valid, but for another name."""
    self_signed: ServerCertificate
    """For the right names, signed by nobody the client knows."""

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this authority."""
        return ssl.create_default_context(cafile=str(self.file))


def make_authority(folder: Path, *names: str) -> Authority:
    """Make all of it below ``folder``; the good one is for ``names``, too. Takes a few milliseconds."""
    authority = trustme.CA()
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    now = dt.datetime.now(dt.UTC)
    expired = authority.issue_cert(*HOSTS, not_before=now - dt.timedelta(days=30), not_after=now - dt.timedelta(days=1))
    return Authority(
        file=file,
        good=_written(folder / "good", authority.issue_cert(*HOSTS, *names)),
        expired=_written(folder / "expired", expired),
        wrong_host=_written(folder / "wrong-host", authority.issue_cert("elsewhere.test")),
        self_signed=_self_signed(folder / "self-signed", now),
    )


def _written(stem: Path, leaf: trustme.LeafCert) -> ServerCertificate:
    paths = ServerCertificate(chain=stem.with_suffix(".pem"), key=stem.with_suffix(".key"))
    paths.chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(paths.key))
    return paths


def _self_signed(stem: Path, now: dt.datetime) -> ServerCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(host)) for host in HOSTS[1:]]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = ServerCertificate(chain=stem.with_suffix(".pem"), key=stem.with_suffix(".key"))
    paths.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
