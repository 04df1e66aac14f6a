"""The certificates that are trusted: certifi's, and those of ``--cacert`` besides."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from downloader.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


_made: set[str] = set()


@contextmanager
def bundle(cacert: str | None) -> Iterator[str | None]:
    """Give the path of a PEM file with certifi's certificates and those of the file ``cacert``; None for none besides.

    One file, and a path: libcurl parses it once and shares it among connections. Raises `errors.UsageError` where
    ``cacert`` cannot be read or holds no certificate.
    """
    if cacert is None:
        yield None
        return
    import ssl
    import tempfile

    import certifi

    try:
        with open(cacert, "rb") as file:
            own = file.read()
        with open(certifi.where(), "rb") as file:
            common = file.read()
    except OSError as error:
        raise UsageError(f"--cacert: cannot read {cacert}: {error.strerror}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=cacert)
    except ssl.SSLError as error:
        raise UsageError(f"--cacert: {cacert} holds no certificate in PEM format that can be read") from error
    descriptor, path = tempfile.mkstemp(prefix="gdl-", suffix=".pem")
    _made.add(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(common + b"\n" + own)
        yield path
    finally:
        _discard(path)


def discard_all() -> None:
    """Remove what `bundle` has made, for a process that ends at once."""
    for path in list(_made):
        _discard(path)


def _discard(path: str) -> None:
    _made.discard(path)
    with suppress(FileNotFoundError):
        os.unlink(path)
