"""BLAKE2, without what ``hashlib`` loads besides: OpenSSL takes longer than the digests of a short list."""

from __future__ import annotations

try:
    from _blake2 import blake2b, blake2s
except ImportError:  # another Python than CPython
    from hashlib import blake2b, blake2s

__all__ = ["blake2b", "blake2s"]
