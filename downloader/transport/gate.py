"""Which addresses an exchange may connect to: asked by libcurl for every socket it wants, TCP and QUIC alike."""

from __future__ import annotations

from _socket import socket  # gevent's is made for waiting, which libcurl does by itself
from typing import TYPE_CHECKING, Any

import pycurl

from downloader.errors import AddressRefused

if TYPE_CHECKING:
    from collections.abc import Callable

NO_SOCKET: int = pycurl.SOCKET_BAD


class Gate:
    """The addresses of one exchange: those that were refused, and whether there was any other.

    ``allowed`` judges an address in its usual notation. A connection that is used again was let through before.
    """

    __slots__ = ("_allowed", "_let_through", "_refused", "failure")

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._let_through = False
        self._refused: list[str] = []
        self.failure: BaseException | None = None
        """What ``allowed`` raised, if it did."""

    def open(self, _purpose: int, address: Any) -> _Lent | int:
        """Return an unconnected socket for libcurl's ``address``, or `NO_SOCKET` where there is to be none."""
        try:
            host = address.addr[0]
            if not isinstance(host, str) or not self._allowed(host):
                self._refused.append(str(host))
                return NO_SOCKET
            self._let_through = True
            return _Lent(address.family, address.socktype, address.protocol)
        except OSError:
            return NO_SOCKET  # libcurl reports the errno
        except BaseException as error:  # noqa: BLE001 raised again by perform(); must not enter libcurl
            self.failure = error
            return NO_SOCKET

    @property
    def refusal(self) -> AddressRefused | None:
        """Why there is no connection, where the host has none but refused addresses."""
        if self._let_through or not self._refused:
            return None
        *others, last = dict.fromkeys(self._refused)
        if not others:
            return AddressRefused(f"{last} is not a public address (--public-only)")
        return AddressRefused(f"{', '.join(others)} and {last} are not public addresses (--public-only)")


class _Lent(socket):
    """A socket that pycurl makes its own copy of (``dup``); this one is closed with the object."""

    def __del__(self) -> None:
        self.close()
