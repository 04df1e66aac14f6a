"""Hosts looked up once for all requests that want them: `Lookups` on the hub, with threads for the system's resolver.

libcurl could look names up by itself, but would for each request to a host not known yet, ten at once, and keeps
nothing where the answer for IPv6 is slow. So it is given the addresses along with the first request to each host, and
its cache has them from then on.
"""

from __future__ import annotations

import os
import socket
from _socket import getaddrinfo  # gevent's waits in the hub's threads, which others need
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gevent
import pycurl
from gevent.hub import Waiter

from downloader.errors import NotConnected, TimedOut
from downloader.transport.lookups import LOOKUPS, Lookups, State, Turn, is_looked_up

if TYPE_CHECKING:
    from gevent.threadpool import ThreadPool

    from downloader.options import Options
    from downloader.request import Request
    from downloader.transport.connections import Connections
    from downloader.transport.exchange import Exchange

_PROXIES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Variables that libcurl takes a proxy from; it leaves HTTP_PROXY to CGI programs."""
_IDLE = 5
"""Seconds a thread waits for more to do."""


def looks_names_up(options: Options, *, direct: bool) -> bool:
    """Whether the names of servers need looking up: behind a proxy, only its own does. ``direct`` is for no proxy."""
    if direct or options.proxy == "":
        return True
    return options.proxy is None and not any(os.environ.get(name) for name in _PROXIES)


class Resolving:
    """Has each host's name looked up once at a time for all of its requests.

    ``hanging`` look-ups that were given up may go on in their threads, as nothing can end them, without taking any
    from the others.
    """

    def __init__(self, timeout: float, loop: Any, *, hanging: int) -> None:
        self._lookups = Lookups(timeout)
        self._timeout = timeout
        self._loop = loop
        self._most = LOOKUPS + hanging
        self._threads: ThreadPool | None = None

    def knows(self, host: str) -> bool:
        """Whether a request to ``host`` need not `wait`."""
        return self._lookups.knows(host, self._loop.now())

    def wait(self, host: str, request: Request) -> tuple[Turn, Request]:
        """Return once the address is there, with ``request`` and what it has left of its deadline.

        Blocks the calling greenlet. Raises `TimedOut` when the time is up, `NotConnected` when the name is not known.
        A turn that is returned must be given back to `leave`.
        """
        turn = self._lookups.ask(host, self._loop.now())
        if turn.state is State.KNOWN:
            return turn, request
        try:
            with gevent.Timeout(request.deadline, TimedOut("the time was up before the host's address came")):
                if turn.state is State.WAITS:
                    # For as long as it takes: the look-up that is waited for ends after --timeout at the latest.
                    turn.waiter = Waiter()
                    turn.waiter.get()
                if turn.failure is not None:
                    raise copy(turn.failure)
                if self._lookups.is_first(turn):
                    self._look_up(turn)
        except BaseException:
            self.leave(turn)
            raise
        if request.deadline is not None:
            self._loop.update_now()
            left = request.deadline - (self._loop.now() - turn.since)
            request = replace(request, deadline=max(left, 0.001))
        return turn, request

    def hand_over(self, easy: Any, exchange: Exchange, turn: Turn, connections: Connections) -> None:
        """Give libcurl the addresses of a first request's host, and have it tell how far that comes.

        Others share its connection only if that is there: libcurl would have them wait for one under way
        (``PIPEWAIT``), but if that turns out to be of HTTP/1.1, until its first response has ended.
        """
        secure = turn.host.startswith("https:")

        # Both from inside libcurl: whom they concern is woken through the hub.
        def on_socket(fd: int, purpose: int) -> int:
            tell = self._lookups.resolved if secure else self._lookups.found
            self._wake(tell(turn, self._loop.now()))
            return connections.on_socket(fd, purpose)

        def on_send() -> None:
            self._wake(self._lookups.found(turn, self._loop.now()))

        if turn.addresses:
            host = turn.host.partition("://")[2]
            easy.setopt(pycurl.RESOLVE, [f"+{host}:{','.join(turn.addresses)}"])
        easy.setopt(pycurl.SOCKOPTFUNCTION, on_socket)
        exchange.on_send = on_send

    def leave(self, turn: Turn) -> None:
        """Take note that the request of a turn is over. Idempotent."""
        self._wake(self._lookups.gone(turn, self._loop.now()))

    def close(self) -> None:
        """Wake all that wait."""
        self._wake(self._lookups.drop_all())

    def _look_up(self, turn: Turn) -> None:
        name, _, port = turn.host.partition("://")[2].rpartition(":")
        if not is_looked_up(name):
            return
        if self._threads is None:
            from gevent.threadpool import ThreadPool  # takes 6 ms, which addresses in place of names need not

            self._threads = ThreadPool(self._most, idle_task_timeout=_IDLE)  # starts those that are needed
        late = TimedOut(f"the host's address did not come in {self._timeout:g} s")
        with gevent.Timeout(self._timeout, late):  # where all threads hang, starting waits, too
            found = self._threads.spawn(_addresses, name, int(port)).get()
        if isinstance(found, list):
            turn.addresses = found
            return
        failure = NotConnected(f"could not resolve host: {name} ({found})")
        # It holds for all that have waited for it.
        self._wake(self._lookups.failed(turn, failure, self._loop.now()))
        raise failure

    def _wake(self, turns: list[Turn]) -> None:
        for turn in turns:
            if turn.waiter is not None:
                self._loop.run_callback(turn.waiter.switch, None)


def _addresses(name: str, port: int) -> list[str] | str:
    """Return the addresses of a host in the order the system would try them, or why there are none. In a thread."""
    try:
        found = getaddrinfo(name.encode(), port, 0, socket.SOCK_STREAM)
    except OSError as error:
        return error.strerror or str(error)
    # libcurl takes no address that holds only for one of the network interfaces.
    return list(dict.fromkeys(str(address[0]) for *_, address in found if "%" not in str(address[0])))
