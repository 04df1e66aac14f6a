"""blake2b, without what ``hashlib`` loads besides: OpenSSL takes longer than the digests of a short list."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another Python than CPython
    from hashlib import blake2b

__all__ = ["blake2b"]
