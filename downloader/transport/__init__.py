"""HTTP over libcurl's multi interface, driven by gevent's hub. Knows nothing of files.

A greenlet calls `Transport.perform` and sleeps until its exchange is over; libcurl's sockets and its timer are
watchers of the hub, so thousands of exchanges need no thread and no polling. Data flows like this::

    greenlet: perform() ── add_handle ──▶ libcurl ── timer 0 ──▶ hub: socket_action ──▶ connect, send
    hub: fd readable ──▶ socket_action ──▶ receiver.begin(head), receiver.write(chunk) ... ──▶ done
    hub: after the drain ──▶ switch into the greenlet ──▶ perform() returns or raises

Before that, perform() waits for what the first request to the same host finds out (`resolving`).

Rules that keep it alive: callbacks run inside libcurl, so they never call libcurl, block, switch or raise; an
exception of the receiver is kept, libcurl told to stop, and the exception raised again in the greenlet.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gevent
import pycurl

from downloader import errors
from downloader.descriptors import share_out
from downloader.framing import framing
from downloader.transport.connections import Connections, OutOfStep
from downloader.transport.exchange import LOOKS, USEFUL, Exchange, Superseded
from downloader.transport.gate import Gate
from downloader.transport.handles import Handles, buffer_size
from downloader.transport.origins import Origins
from downloader.transport.pacing import Pacer
from downloader.transport.reply import Reply
from downloader.transport.resolving import Resolving, looks_names_up
from downloader.transport.translation import is_garbage, translate
from downloader.transport.watchers import Watchers
from downloader.urls import host_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.descriptors import Room
    from downloader.options import Options
    from downloader.request import Request
    from downloader.transport.exchange import Receiver
    from downloader.transport.lookups import Turn

__all__ = ["Reply", "Transport"]

_forgotten: list[Any] = []
"""Multi handles that could not be closed without waiting."""


class Transport:
    """Performs requests for the greenlets of the current hub; close it when they are done.

    ``spare`` bounds how many idle easy handles are kept for reuse. ``cainfo`` is a PEM file with the trusted
    certificates (a path, so that libcurl parses it once for all connections), None for certifi's. ``allowed`` judges
    each address before it is connected to, and no proxy is used then; by default that is what ``--public-only`` asks
    for. ``room`` is how many connections and hanging look-ups there are descriptors for.
    """

    def __init__(
        self,
        options: Options,
        *,
        cainfo: str | None = None,
        spare: int = 64,
        allowed: Callable[[str], bool] | None = None,
        room: Room | None = None,
    ) -> None:
        self._allowed = allowed
        if allowed is None and options.public_only:
            from downloader.addresses import is_public  # its tables take 2 ms

            self._allowed = is_public
        direct = self._allowed is not None
        self._active: dict[Any, Exchange] = {}
        self._timeout = options.timeout
        self._watch: Any = None
        self._looking_up = False
        self._closed = False
        self._loop = loop = gevent.get_hub().loop
        self._multi = pycurl.CurlMulti()
        room = room or share_out(options.jobs, None)
        self._multi.setopt(pycurl.M_MAXCONNECTS, room.connections)
        # The first bounds those that become idle only; at this one, an idle one is closed before another is opened.
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, room.connections)
        self._connections = Connections(2 * room.connections)
        self._handles = Handles(options, cainfo, spare=spare, direct=direct, on_socket=self._connections.on_socket)
        self._watchers = Watchers(self._multi, loop, self._drive)
        self._resolving: Resolving | None = None
        if looks_names_up(options, direct=direct):
            self._resolving = Resolving(options.timeout, loop, hanging=room.hanging)
        self._origins = Origins(waits=self._resolving is not None)
        self._pacer: Pacer | None = None
        if options.limit_rate is not None:
            self._pacer = Pacer(options.limit_rate, loop, self._on_broken, quantum=buffer_size(options))

    def perform(self, request: Request, receiver: Receiver, *, host: str | None = None) -> Reply:
        """Send ``request``, give the response to ``receiver``, and return what it came to when the body is complete.

        ``host`` is the `urls.host_key` of its URL, where that is known by the caller.
        Blocks the calling greenlet only. Raises what the receiver raised, or a `errors.TransferError` in
        libcurl's place; when the greenlet is killed, the exchange is cancelled and its connection dropped.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        key = host or host_key(request.url)
        resolving = self._resolving
        began = 0.0 if request.deadline is None else time.monotonic()
        try:
            if resolving is None or resolving.knows(key):
                return self._exchange(key, request, receiver, None)
            return self._exchange_first(resolving, key, request, receiver)
        except OutOfStep as found:
            if found.proven:
                self._origins.get(key).fresh = True
        if request.deadline is not None:
            request = replace(request, deadline=max(0.001, request.deadline - (time.monotonic() - began)))
        try:
            return self._exchange(key, request, receiver, None, fresh=True)
        except OutOfStep as error:
            raise errors.ConnectError(str(error)) from error

    def _exchange_first(self, resolving: Resolving, key: str, request: Request, receiver: Receiver) -> Reply:
        turn, request = resolving.wait(key, request)
        try:
            if self._closed:
                raise errors.Interrupted("the run was stopped")
            return self._exchange(key, request, receiver, turn)
        finally:
            resolving.leave(turn)

    def _exchange(
        self, key: str, request: Request, receiver: Receiver, turn: Turn | None, *, fresh: bool = False
    ) -> Reply:
        """Make one request; ``fresh``: on a connection of its own. Raises `OutOfStep` for a connection unfit for it."""
        origin = self._origins.get(key)
        fresh = fresh or origin.fresh
        http1 = origin.http1 or request.http1
        plain = turn is None and not fresh and not http1 and self._handles.is_plain(request)
        secure, pipewait = origin.secure or self._resolving is None, origin.pipewait  # a proxy may speak TLS, too
        easy = self._handles.take(plain=plain, secure=secure, pipewait=pipewait)
        exchange = Exchange(receiver, self._connections, secure=secure, fresh=origin.fresh)
        gate = None if self._allowed is None else Gate(self._allowed)
        try:
            if plain:
                easy.setopt(pycurl.URL, request.url)
            else:
                self._handles.configure(easy, request, fresh=fresh, http1=http1)
            easy.setopt(pycurl.HEADERFUNCTION, exchange.lines.append)
            pacer = self._pacer
            easy.setopt(pycurl.WRITEFUNCTION, exchange.on_data if pacer is None else pacer.join(easy, exchange).on_data)
            easy.setopt(pycurl.PREREQFUNCTION, exchange.on_request)
            if gate is not None:
                easy.setopt(pycurl.OPENSOCKETFUNCTION, gate.open)
            if turn is not None and self._resolving is not None:
                self._resolving.hand_over(easy, exchange, turn, self._connections)
            self._active[easy] = exchange
            if self._watch is None:
                self._watch = self._loop.timer(self._timeout / LOOKS, self._timeout / LOOKS)
                self._watch.start(self._on_watch)
            self._multi.add_handle(easy)
            code, message = exchange.waiter.get()
            if exchange.is_superseded():
                origin.http1 = True
                raise Superseded
            if code or exchange.failure is not None:
                exchange.tell_head(broken=code != 0)
                raise exchange.failure or _error(code, message, easy, gate)
            head = exchange.begun or exchange.finish()
            surplus: bool | None = exchange.surplus
            # libcurl closes a connection against the head's word where it has read more than the response, but also
            # where another request finds it dead, or needs its room, before this one's end is told.
            if not surplus and exchange.complete and not exchange.kept and head.keeps_connection:
                surplus = exchange.in_peace or None
            origin.fresh = origin.fresh or surplus is True
            took = easy.getinfo(pycurl.TOTAL_TIME) - easy.getinfo(pycurl.PRETRANSFER_TIME)
            return Reply(head, took, exchange.received, framing(head, surplus=surplus))
        finally:
            if self._active.pop(easy, None) is not None and not self._closed:
                self._multi.remove_handle(easy)
            if not exchange.lines and not easy.getinfo(pycurl.NAMELOOKUP_TIME):
                self._looking_up = True
            if self._pacer is not None:
                self._pacer.leave(exchange)
            if exchange.begun is not None and origin.secure:
                origin.answered(exchange.begun, asked=request.http1)
            exchange.forget()
            self._handles.give_back(easy, plain=plain, secure=secure, pipewait=pipewait)

    def close(self) -> None:
        """Cancel what is running (its greenlets get `errors.Interrupted`) and free everything. Idempotent."""
        if self._closed:
            return
        self._fail_all(errors.Interrupted("the run was stopped"))
        self._closed = True
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._resolving is not None:
            self._resolving.close()
        if self._pacer is not None:
            self._pacer.close()
        self._watchers.stop_timer()
        if self._looking_up:
            # Closing would wait for the resolver's threads, for as long as its servers keep silent.
            _forgotten.append(self._multi)
        else:
            self._multi.close()
        self._watchers.close()
        self._handles.close()

    # Called by the hub.

    def _drive(self, fd: int, events: int) -> None:
        if self._closed:
            return
        sought = self._connections.sought
        try:
            _, running = self._multi.socket_action(fd, events)
        except pycurl.error as error:
            self._fail_all(errors.ConnectError(f"libcurl failed: {error}"))
            return
        if running == len(self._active):
            return
        done: list[tuple[Exchange, int, str]] = []
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._detach(easy, 0, "", done, sought=sought)
            for easy, code, message in failed:
                self._detach(easy, code, message, done)
        _wake(done)

    def _detach(
        self, easy: Any, code: int, message: str, done: list[tuple[Exchange, int, str]], *, sought: int | None = None
    ) -> None:
        exchange = self._active.pop(easy, None)
        if exchange is not None:
            if sought is not None:  # it is complete
                exchange.end(easy.getinfo(pycurl.ACTIVESOCKET), sought=sought)
            self._multi.remove_handle(easy)
            if self._pacer is not None:
                self._pacer.leave(exchange)
            done.append((exchange, code, message))

    def _on_watch(self) -> None:
        """Fail what has gone silent: libcurl's own watch takes means over several seconds."""
        if not self._active:
            self._watch.close()
            self._watch = None
            return
        done: list[tuple[Exchange, int, str]] = []
        for easy, exchange in list(self._active.items()):
            sent = bool(exchange.lines) or easy.getinfo(pycurl.PRETRANSFER_TIME) > 0
            looks = exchange.look(USEFUL * self._timeout, sent=sent)
            if looks:
                exchange.tell_head()
            if looks >= LOOKS and exchange.failure is None:
                exchange.failure = exchange.silence(self._timeout)
            if exchange.failure is not None or exchange.settled:
                self._detach(easy, 0, "", done)
        _wake(done)

    def _on_broken(self, easy: Any) -> None:
        done: list[tuple[Exchange, int, str]] = []
        self._detach(easy, pycurl.E_WRITE_ERROR, "", done)
        _wake(done)

    def _fail_all(self, error: errors.ItemError) -> None:
        for easy, exchange in list(self._active.items()):
            del self._active[easy]
            self._multi.remove_handle(easy)
            exchange.failure = exchange.failure or error
            self._loop.run_callback(exchange.waiter.switch, (0, ""))


def _error(code: int, message: str, easy: Any, gate: Gate | None) -> BaseException:
    """Return what libcurl's ``code`` comes from."""
    if gate is not None and (refusal := gate.failure or gate.refusal) is not None:
        return refusal
    if is_garbage(code, message) and not easy.getinfo(pycurl.NUM_CONNECTS):
        return OutOfStep(proven=True)  # something was left over of an earlier response
    return translate(code, message, easy.getinfo(pycurl.OS_ERRNO))


def _wake(done: list[tuple[Exchange, int, str]]) -> None:
    """Let the greenlets of detached exchanges run; never from inside libcurl, which they call."""
    for exchange, code, message in done:
        exchange.waiter.switch((code, message))
