"""BLAKE2b, without what ``hashlib`` loads besides: OpenSSL takes longer than the digests of a short list."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another Python than CPython
    from hashlib import blake2b

__all__ = ["blake2b", "digest"]


def digest(text: str, size: int) -> bytes:
    """Return ``size`` bytes (at most 64) that stand for any ``text``, the same on every machine and at every run."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
