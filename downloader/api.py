"""The library's one verb: `download`, an iterator of results, from plain and from gevent-patched programs alike.

The engine runs in a thread of its own with its own hub, so that transfers go on while the caller works with a
result; in a program that gevent has patched, that thread is a greenlet of the caller's hub. The caller's iterable is
read in the caller's thread, one URL at a time and only when there is room::

    caller's thread                      engine's thread
    next() ── takes an event ◀────────── a result, or "room for one more"
         └── reads the iterable ───────▶ inbox ──▶ the engine's items
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import Interrupted
from downloader.items import BadItem, Item, Listener, Result
from downloader.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ROOM: Final = object()
_END: Final = object()


def download(
    urls: Iterable[str | Mapping[str, object] | Item], *, options: Options | None = None, **settings: Any
) -> Iterator[Result]:
    """Download ``urls`` and yield a `Result` for each as it finishes, in no particular order.

    Each of ``urls`` is a URL, a mapping with the keys of a JSON line (``url``, ``name``, ``checksum``, ``headers``
    and so on), or an `Item`; they are read lazily. ``settings`` are fields of `Options`, changed in ``options``
    where both are given. Nothing starts before the first `next`; closing the iterator interrupts what runs.

    Raises `UsageError` for a setting that makes no sense. What goes wrong with a URL is a failed result, and
    so is what is left when nothing can be written any more.
    """
    checked = replace(options or Options(), **settings) if settings or options is None else options
    return _Run(checked, urls).results()


class _Run(Listener):
    """One call of `download`: the caller's half and the engine's half, joined by two queues."""

    def __init__(self, options: Options, urls: Iterable[str | Mapping[str, object] | Item]) -> None:
        self._options = options
        self._urls = urls
        self._events = _queue()
        self._inbox: deque[Item | BadItem | None] = deque()
        self._wake: Any = None
        self._stopping = False

    # The caller's half.

    def results(self) -> Iterator[Result]:
        from downloader.sources import from_program

        items = from_program(self._urls)
        thread = threading.Thread(target=self._work, name="gdl", daemon=True)
        thread.start()
        over = False
        try:
            while True:
                event = self._events.get()
                if event is _ROOM:
                    self._inbox.append(next(items, None))
                    self._wake.send()
                elif isinstance(event, Result):
                    yield event
                elif isinstance(event, BaseException):
                    raise event
                else:
                    over = True
                    return
        finally:
            self._stopping = True
            if self._wake is not None and not over:
                self._wake.send()
            thread.join()

    # The engine's half.

    def finished(self, result: Result) -> None:
        self._events.put(result)

    def _work(self) -> None:
        import gevent
        from gevent import monkey
        from gevent.event import Event

        from downloader.engine import Engine

        hub = gevent.get_hub()
        try:
            engine = Engine(self._options, listeners=[self], read_on=True)
            ready = Event()

            def woken() -> None:
                ready.set()
                if self._stopping:
                    gevent.spawn(engine.stop, Interrupted("the caller closed the iterator"))

            self._wake = hub.loop.async_()
            self._wake.start(woken)
            try:
                engine.run(self._items(ready))
            finally:
                wake, self._wake = self._wake, _Closed()
                wake.stop()
                wake.close()
        except BaseException as error:  # noqa: BLE001 raised again in the caller's thread
            self._events.put(error)
        finally:
            self._events.put(_END)
            if not monkey.is_module_patched("_thread"):
                hub.destroy(destroy_loop=True)

    def _items(self, ready: Any) -> Iterator[Item | BadItem]:
        while True:
            self._events.put(_ROOM)
            while not self._inbox:
                ready.wait()
                ready.clear()
            item = self._inbox.popleft()
            if item is None:
                return
            yield item


def _queue() -> Any:
    """Return a queue that fits the threads: a program may have patched one of the two modules and not the other."""
    from gevent import monkey
    from gevent.queue import SimpleQueue

    return SimpleQueue() if monkey.is_module_patched("_thread") else monkey.get_original("queue", "SimpleQueue")()


class _Closed:
    """Stands in for the wake-up call of an engine that is gone."""

    def send(self) -> None:
        """Reach nobody."""
