"""libcurl's easy handles: their options, and a free list from which no option leaks to the next request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pycurl

from downloader.errors import UsageError
from downloader.transport.lookups import CACHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.options import Options
    from downloader.request import Request

LEAST_LIBCURL = (8, 3, 0)
"""Older ones take headers without end into memory."""
BROKEN_LIBCURL = frozenset({(8, 20, 0)})
"""Releases that spin on their wake-up descriptor."""

LEAST_FOR_PAUSES = (8, 14, 0)
"""Older ones have HTTP/2 stall behind a pause."""

BUFFER = 256 * 1024
"""Receive buffer in bytes: fewer, larger chunks mean less Python per byte."""
LEAST_BUFFER = 1024
"""The smallest that libcurl takes."""

# Part of libcurl's ABI, not named by pycurl: CURLOPT_SUPPRESS_CONNECT_HEADERS and CURLOPT_QUICK_EXIT.
_SUPPRESS_CONNECT_HEADERS = 265
_QUICK_EXIT = 322

_HTTP_VERSIONS = {
    "auto": pycurl.CURL_HTTP_VERSION_2TLS,
    "1.0": pycurl.CURL_HTTP_VERSION_1_0,
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "3": pycurl.CURL_HTTP_VERSION_3,
}


def check_libcurl(*, pauses: bool = False) -> None:
    """Raise `UsageError` when the installed libcurl cannot do the work. ``pauses``: transfers will be paused."""
    text = pycurl.version_info()[1]
    version = tuple(int(part) for part in text.split("-")[0].split(".")[:3])
    if version < LEAST_LIBCURL or version in BROKEN_LIBCURL:
        least = ".".join(map(str, LEAST_LIBCURL))
        raise UsageError(f"libcurl {text} cannot be used; install a pycurl with libcurl {least} or newer")
    if pauses and version < LEAST_FOR_PAUSES:
        least = ".".join(map(str, LEAST_FOR_PAUSES))
        raise UsageError(f"--limit-rate needs libcurl {least} or newer, this is {text}")


def buffer_size(options: Options) -> int:
    """Return the bytes a transfer receives at once: with ``--limit-rate``, a hundredth of a second's worth."""
    if options.limit_rate is None:
        return BUFFER
    return max(LEAST_BUFFER, min(options.limit_rate // 100, BUFFER))


class Handles:
    """Easy handles for the requests of a run.

    A handle that has only ever had the run's own options and a URL is *plain*: the next plain request needs no more
    than another URL. Every other one is reset before it is used again. ``spare`` bounds how many are kept. ``direct``
    is for no proxy, not even the environment's. ``cainfo`` is a PEM file with the trusted certificates; None for
    certifi's, which is looked for when the first request needs it.

    A handle is ``secure`` if the server or a proxy may speak TLS, and ``pipewait`` is for such requests that wait for a
    connection under way rather than open another, if it may turn out to be one they can share. ``on_socket`` is called
    from inside libcurl with each socket that is to be connected, and its purpose; it returns ``SOCKOPT_OK``.
    """

    def __init__(
        self,
        options: Options,
        cainfo: str | None,
        *,
        spare: int,
        direct: bool = False,
        on_socket: Callable[[int, int], int] | None = None,
    ) -> None:
        check_libcurl(pauses=options.limit_rate is not None)
        self._base = _base_options(options, direct=direct)
        if on_socket is not None:
            self._base.append((pycurl.SOCKOPTFUNCTION, on_socket))
        self._cainfo = cainfo
        self._user_agent = options.user_agent
        self._referer = options.referer
        self._spare = spare
        self._reset: list[Any] = []
        self._plain: tuple[list[Any], list[Any], list[Any]] = ([], [], [])  # indexed by secure + pipewait
        self.idle = 0
        """How many are kept."""
        self._closed = False

    def is_plain(self, request: Request) -> bool:
        """Whether only the URL tells ``request`` from others of the run."""
        own = request.headers or request.username or request.cookie or request.deadline or request.http1
        return not own and request.user_agent == self._user_agent and request.referer == self._referer

    def take(self, *, plain: bool, secure: bool, pipewait: bool) -> Any:
        """Return a handle with the options of the run."""
        if plain and self._plain[secure + pipewait]:
            self.idle -= 1
            return self._plain[secure + pipewait].pop()
        easy = self._blank()
        for option, value in self._base:
            easy.setopt(option, value)
        if secure:
            self._trust(easy)
        if pipewait:
            easy.setopt(pycurl.PIPEWAIT, 1)
        if plain:
            easy.setopt(pycurl.USERAGENT, _wire(self._user_agent))
            if self._referer is not None:
                easy.setopt(pycurl.REFERER, _wire(self._referer))
        return easy

    def _trust(self, easy: Any) -> None:
        if self._cainfo is None:
            import certifi  # and finding its file take 5 ms, which http need not

            self._cainfo = certifi.where()
        easy.setopt(pycurl.CAINFO, self._cainfo)
        easy.setopt(pycurl.PROXY_CAINFO, self._cainfo)

    def _blank(self) -> Any:
        idle = self._reset or self._plain[0] or self._plain[1] or self._plain[2]
        if not idle:
            return pycurl.Curl()
        self.idle -= 1
        easy = idle.pop()
        if idle is not self._reset:
            easy.reset()
        return easy

    def configure(self, easy: Any, request: Request, *, fresh: bool, http1: bool) -> None:
        """Set what ``request``, which is not plain, needs besides the options of the run.

        ``fresh`` and ``http1`` are for a connection of its own and for one of HTTP/1.1.
        """
        _configure(easy, request)
        if fresh:
            easy.setopt(pycurl.FRESH_CONNECT, 1)
        if http1:
            easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)

    def give_back(self, easy: Any, *, plain: bool, secure: bool, pipewait: bool) -> None:
        """Keep a handle for later, or close it."""
        if self._closed or self.idle >= self._spare:
            easy.close()
            return
        self.idle += 1
        if plain:
            self._plain[secure + pipewait].append(easy)
        else:
            easy.reset()
            self._reset.append(easy)

    def close(self) -> None:
        """Close what is idle; what is given back later is closed then. Idempotent."""
        self._closed = True
        for idle in (self._reset, *self._plain):
            for easy in idle:
                easy.close()
            idle.clear()
        self.idle = 0


def _base_options(options: Options, *, direct: bool) -> list[tuple[int, Any]]:
    """The libcurl options every request of a run shares."""
    base: list[tuple[int, Any]] = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, _HTTP_VERSIONS[options.http_version]),
        (pycurl.BUFFERSIZE, buffer_size(options)),
        # Asks for the bytes as they are. What comes encoded all the same is undone by its receiver, which sees whether
        # it is complete; libcurl does not.
        (pycurl.ACCEPT_ENCODING, "identity"),
        (pycurl.HTTP_CONTENT_DECODING, 0),
        # A handle that is removed while its look-up runs must not wait for the resolver's thread.
        (_QUICK_EXIT, 1),
        (pycurl.DNS_CACHE_TIMEOUT, CACHED),
        (pycurl.CONNECTTIMEOUT_MS, int(options.timeout * 1000) or 1),
        (pycurl.LOW_SPEED_LIMIT, 1),
        # For waits that `exchange.Exchange.look` does not see; it knows the others better, and comes first.
        (pycurl.LOW_SPEED_TIME, math.ceil(options.timeout * 1.1) + 1),
        (_SUPPRESS_CONNECT_HEADERS, 1),
    ]
    if options.insecure:
        base += [(pycurl.SSL_VERIFYPEER, 0), (pycurl.SSL_VERIFYHOST, 0)]
        base += [(pycurl.PROXY_SSL_VERIFYPEER, 0), (pycurl.PROXY_SSL_VERIFYHOST, 0)]
    if direct or options.proxy is not None:
        base.append((pycurl.PROXY, "" if direct else options.proxy))
    if options.netrc:
        base.append((pycurl.NETRC, pycurl.NETRC_OPTIONAL))
    return base


def _configure(easy: Any, request: Request) -> None:
    easy.setopt(pycurl.URL, request.url)
    if request.user_agent is not None:
        easy.setopt(pycurl.USERAGENT, _wire(request.user_agent))
    if request.referer is not None:
        easy.setopt(pycurl.REFERER, _wire(request.referer))
    if request.headers:
        # "Name;" is libcurl's way to say: send it with an empty value.
        easy.setopt(
            pycurl.HTTPHEADER,
            [_wire(f"{name}: {value}" if value else f"{name};") for name, value in request.headers],
        )
    if request.username is not None:
        easy.setopt(pycurl.USERNAME, _wire(request.username))
        easy.setopt(pycurl.PASSWORD, _wire(request.password or ""))
    if request.cookie is not None:
        easy.setopt(pycurl.COOKIE, _wire(request.cookie))
    if request.deadline is not None:
        easy.setopt(pycurl.TIMEOUT_MS, max(1, int(request.deadline * 1000)))


def _wire(text: str) -> bytes:
    """Text outside ASCII goes out as UTF-8, as curl sends it; pycurl itself would refuse it."""
    return text.encode("utf-8", "surrogateescape")
