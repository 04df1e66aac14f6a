"""One greenlet per item: reads items while there is room, starts what the scheduler lets start, emits results.

Flow: ``items`` are read by one feeder greenlet, at most `window` ahead of their results. Each is settled at once
where that needs no request (a bad line, a duplicate, a file that exists), else queued; the scheduler says which
start, and each of those gets a greenlet that lives until its result, waiting without a slot between its tries.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from downloader import descriptors, errors, naming, results, trust, urls
from downloader.attempts import Attempts
from downloader.claims import NameLedger, SeenSet
from downloader.context import Context, Name, Skip
from downloader.items import BadItem, Running, Tally
from downloader.options import JOBS
from downloader.slots import Slots
from downloader.transport import Transport
from downloader.turns import give_turn, opening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from downloader.items import Item, Listener, Result
    from downloader.options import Options

BREATH = 64
"""Items read, or results given, in a row before others get their turn."""
MOST_AHEAD = 16_384
"""Items that may be under way at most, where those read so far leave slots idle: theirs are hosts at their limits."""
MOST_OF_ONE = 2048
"""As many where they are all of one host: others are not likely to follow."""


def window(options: Options) -> int:
    """Return how many items may be under way at once: running, queued, waiting for a try or for a name."""
    return max(512, 8 * options.jobs)


class Engine:
    """A run. ``tally``, ``running`` and ``troubles`` may be read at any time; ``listeners`` hear of everything else.

    ``stopped`` is None, or the reason why the run ended before its list.
    """

    def __init__(self, options: Options, *, listeners: Sequence[Listener] = (), read_on: bool = False) -> None:
        """``read_on``: when nothing can be written any more, read the rest of the items to give each its result."""
        self._asked = options.jobs
        self._descriptors = descriptors.share_out(options.jobs, descriptors.free())
        if self._descriptors.transfers < options.jobs:
            options = replace(options, jobs=self._descriptors.transfers)
        self.options = options
        self.tally = Tally()
        self.running: dict[int, Running] = {}
        self.stopped: errors.GdlError | None = None
        self._listeners = listeners
        self._read_on = read_on
        self._slots = Slots(
            options, self._start, idle=self._look_ahead, note=self._note, warn=self._warn, running=self.running
        )
        self.troubles = self._slots.troubles
        self._seen = SeenSet()
        self._context: Context
        self._pending: dict[int, Name] = {}
        self._greenlets: dict[int, Any] = {}
        self._live = 0
        self._set_window(window(options))
        self._room = Event()
        self._over = Event()
        self._feeder: Any = None
        self._ender: Any = None
        self._fed = False
        self._feed_error: BaseException | None = None

    def run(self, items: Iterable[Item | BadItem]) -> None:
        """Download ``items`` and return when each that was read has its result. Blocks the calling greenlet.

        Raises `errors.UsageError` where an option's file cannot be used, and what iterating over ``items`` raises;
        everything else ends in results.
        """
        options = self.options
        template = naming.Template(options.name) if options.name else None
        cookies = None
        if options.cookies:
            from downloader.cookies import CookieFile

            cookies = opening(options.cookies, partial(CookieFile, options.cookies, now=time.time()))
        with ExitStack() as stack:
            certificates = trust.bundle(options.cacert)
            cainfo = opening(options.cacert or "", lambda: stack.enter_context(certificates))
            transport = Transport(options, cainfo=cainfo, room=self._descriptors)
            self._context = Context(
                *(options, transport, NameLedger(), cookies, template, self._listeners),
                most_nameless=self._descriptors.nameless,
            )
            self._tell_of_descriptors()
            feeder = gevent.spawn(self._feed, items)
            try:
                self._over.wait()
                if self.tally.saved and self.stopped is None:  # its files may be elsewhere than their results say
                    self.stopped = self._context.folders.astray()
            except BaseException:
                self.stop(errors.Interrupted("the run itself was interrupted"))
                raise
            finally:
                gevent.killall([feeder, *self._greenlets.values()])
                if self._ender is not None:
                    self._ender.join()
                self._slots.close()
                transport.close()
                self._context.close()
                self._seen.close()
        if self._feed_error is not None:
            raise self._feed_error

    def _tell_of_descriptors(self) -> None:
        jobs = self.options.jobs
        if jobs < self._asked:
            tell = self._note if self._asked == JOBS else self._warn  # it is news to who has asked for more
            tell(f"at most {jobs} transfers at once: the limit of open files (ulimit -n) is too low for {self._asked}")

    def found(self, *, every: bool = False) -> list[str]:
        """Return the summary's lines about hosts, as `troubles.Troubles.found`."""
        return self._slots.found(every=every)

    def stop(self, reason: errors.GdlError) -> None:
        """End the run: start nothing, interrupt what runs, and give every item read so far its result.

        May be called at any time from any greenlet of the run's hub; only the first call counts.
        """
        if self.stopped is not None:
            return
        self.stopped = reason
        self._slots.stop()
        pending, self._pending = self._pending, {}
        current = gevent.getcurrent()
        for greenlet in list(self._greenlets.values()):
            if greenlet is not current:
                greenlet.kill(self._interruption(), block=False)
        if self._feeder is not None and self._feeder is not current and not self._reads_on():
            self._feeder.kill(block=False)
        self._room.set()
        # What has taken its first step ends by itself when it is interrupted.
        self._ender = gevent.spawn(self._end, pending)

    def _end(self, pending: Mapping[int, Name]) -> None:
        """Give those that have not begun their results."""
        for number, name in enumerate(pending.values(), 1):
            self._emit(results.failed(name.item, self._interruption()))
            if not number % BREATH:
                give_turn()

    def _stop_for(self, error: errors.StopRun) -> None:
        if self._context.stops(error):
            self.stop(error)

    def _interruption(self) -> errors.Interrupted:
        return errors.Interrupted(f"not done: {self.stopped or 'interrupted'}")

    def _reads_on(self) -> bool:
        return self._read_on and isinstance(self.stopped, errors.StopRun)

    # The feeder.

    def _feed(self, items: Iterable[Item | BadItem]) -> None:
        self._feeder = gevent.getcurrent()
        iterator: Iterator[Item | BadItem] | None = None
        try:
            iterator = iter(items)
            unbroken = 0
            while self.stopped is None or self._reads_on():
                item = next(iterator, None)
                if item is None:
                    self.tally.exhausted = True
                    break
                self._admit(item)
                unbroken += 1
                if unbroken >= BREATH:
                    unbroken = 0
                    give_turn()
                if self._live >= self._window:
                    self._room.clear()
                    self._room.wait()
        except errors.StopRun as error:
            self.stop(error)
        except gevent.GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 the caller's iterator: raised again by run()
            self._feed_error = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            self._fed = True
            self._slots.end_of_list()
            self._check_over()

    def _set_window(self, size: int) -> None:
        self._window = size
        # The feeder wakes for a batch, not for each item.
        self._low = size - max(1, size // 8)

    def _look_ahead(self) -> None:
        """Read further: there are slots that none of the items read so far can use."""
        if self._live <= self._low or len(self._greenlets) > 4 * self.options.jobs:  # those wait, and take memory
            return
        most = MOST_AHEAD if self._slots.several else MOST_OF_ONE
        if self._window < most:
            self._set_window(min(most, 2 * self._window))
            self._room.set()

    def _note(self, message: str) -> None:
        self._context.note(message)

    def _warn(self, message: str) -> None:
        self._context.warn(message)

    def _check_over(self) -> None:
        if self._fed and not self._live:
            self._over.set()

    def _admit(self, item: Item | BadItem) -> None:
        url = item.url or ""  # what is no item at all is the caller's error, raised here before it counts
        self.tally.read += 1
        self._live += 1
        if isinstance(item, BadItem):
            self._emit(results.bad(item))
            return
        try:
            if self.stopped is not None:
                raise self._interruption()
            host = urls.host_key(url)
            if not self._seen.add(_identity(item) if item.name or item.address.username else url):
                raise Skip("duplicate")
            context = self._context
            known = context.known_beforehand(item)
            name = Name(item, known, context.ledger.enter(item.index, url, known))
            if name.given is not None:
                if (path := context.existed(name.given, url)) is not None:
                    raise Skip("exists", path)
                if self.options.dry_run:
                    raise Skip("dry run", context.path(name.given))
        except Skip as skip:
            self._emit(results.skipped(item, skip.reason, skip.path))
        except errors.ItemError as error:
            self._emit(results.failed(item, error))
        except errors.StopRun as error:
            self._emit(results.failed(item, error))
            self._stop_for(error)
        except Exception as bug:  # noqa: BLE001 the item's boundary before it has a greenlet
            self._emit(results.failed(item, _internal(bug)))
        else:
            self._pending[item.index] = name
            self._slots.add(item.index, host)

    # One item.

    def _start(self, index: int) -> bool:
        """Give the item its greenlet; False where it has ended while it was queued."""
        if index not in self._pending:
            return False
        gevent.spawn(self._run_item, index)
        return True

    def _run_item(self, index: int) -> None:
        name = self._pending.pop(index, None)
        if name is None:  # ended by stop() between its grant and this first step
            return
        self._greenlets[index] = gevent.getcurrent()
        item = name.item
        running = Running(item, started=time.monotonic(), name=name.wanted or naming.from_url(item.url))
        attempts = Attempts(self._context, self._slots, name, running, self.running, self.tally)
        progress = attempts.download.progress
        try:
            result = results.saved(item, running, progress, attempts.run())
        except Skip as skip:
            result = results.skipped(item, skip.reason, skip.path, running, progress)
        except errors.StopRun as error:
            result = results.failed(item, error, running, progress)
            self._stop_for(error)
        except errors.ItemError as error:
            result = results.failed(item, error, running, progress)
        except Exception as bug:  # noqa: BLE001 the one place: a bug costs its item, not the run
            result = results.failed(item, _internal(bug), running, progress)
        except gevent.GreenletExit:
            result = results.failed(item, self._interruption(), running, progress)
            raise
        finally:
            self._greenlets.pop(item.index, None)
            try:
                attempts.download.abandon()
            except errors.StopRun as error:
                self._stop_for(error)
            except errors.ItemError as error:  # the item has its result
                self._note(f"{item.url}: {error}")
            finally:
                self._emit(result)

    def _emit(self, result: Result) -> None:
        self.tally.count(result)
        for listener in self._listeners:
            listener.finished(result)
        self._live -= 1
        if self._live <= self._low:
            self._room.set()
        self._check_over()


def _internal(bug: Exception) -> errors.InternalError:
    error = errors.InternalError(f"gdl has a bug: {type(bug).__name__}: {bug}")
    error.__cause__ = bug
    return error


def _identity(item: Item) -> str:
    """What makes two items one: under two names of the user's, or with two logins, a URL is two files."""
    return f"{item.url} {item.name} {item.address.username}"
