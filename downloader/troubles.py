"""What people are told of the hosts that make a run wait: those that slow it down, are to be left alone, or are down.

Told of events as they happen, so that the display has its words ready at each tick. Lines go to functions: the first
of its kind for a host is a warning where it says why nothing happens, the others are notes. Only the hosts that had
trouble last are remembered. Pure, the clock passed in.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from downloader.text import counted, fit, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from downloader.hosts import Host

REMEMBERED: Final = 500
"""Hosts of whose troubles something is known."""
WARNINGS: Final = 20
"""Hosts that get a warning of one kind; what comes after them is noted."""
LONG: Final = 5.0
"""Seconds for which a host must be left alone to be worth a warning."""
BRIEF: Final = 2.0
"""Seconds below which a wait is over before anybody has read of it."""
RECENT: Final = 10.0
"""Seconds for which the display tells that a host has asked to slow down."""
LISTED: Final = 5
"""Hosts of each kind in the summary."""
COLUMNS: Final = 30
"""Columns of a host's name in the display."""
REASON: Final = 120
"""Characters of a reason."""

_NOT_CONNECTED: Final = re.compile(r"failed to connect to \S+ \((.+)\)")
_TIMES: Final = {1: "once", 2: "twice"}
_KINDS: Final = {"waits": ("waits", "wait"), "down": ("down", "down"), "slowed": ("slowed", "slowed")}
"""What a host may be just now, the worst first, and how one of them and several are told of."""


class _Trouble:
    """That of one host. Times are those of the clock."""

    __slots__ = ("asked", "brief", "closed", "down", "level", "slowed_at", "until", "was_down")

    def __init__(self) -> None:
        self.asked = 0
        self.brief = False
        self.closed = 0.0
        self.down = self.was_down = ""
        self.level = 0
        self.slowed_at: float | None = None
        self.until = 0.0

    @property
    def rank(self) -> tuple[bool, float, bool, int]:
        return bool(self.down), self.closed, bool(self.was_down), self.asked

    def state(self, now: float) -> str:
        """What the host is at this time, as a key of `_KINDS`; empty for nothing."""
        if self.down:
            return "down"
        if self.until > now and not self.brief:
            return "waits"
        return "slowed" if self.slowed_at is not None and now - self.slowed_at < RECENT else ""

    def words(self, now: float) -> str:
        """The same for people."""
        state = self.state(now)
        if state == "waits":
            return f"waits {format_duration(ceil(self.until - now))}"
        return f"slowed to {self.level}" if state == "slowed" else state

    def told(self, found: str) -> str:
        """What the summary says of a host that was ``found`` to stand so much; empty where that is not worth a line."""
        if self.down:
            return f"down ({self.down})"
        parts = []
        if self.closed:
            parts.append(f"wants to be left alone for {format_duration(self.closed)}")
        if self.was_down:
            parts.append(f"was down ({self.was_down}), then answered again")
        if self.asked:
            parts.append("asked to slow down " + _TIMES.get(self.asked, f"{self.asked} times"))
        return "; ".join([found, *parts] if found and parts else parts)


class Troubles:
    """The troubles of a run. Hosts go by their keys, as `urls.host_key` makes them."""

    def __init__(
        self,
        note: Callable[[str], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
        busy: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``warn`` gets what everybody should see, ``note`` what is for ``-v``; ``busy`` knows who is waited for."""
        self._note = note
        self._warn = warn
        self._busy = busy
        self._hosts: OrderedDict[str, _Trouble] = OrderedDict()
        self._forgotten = 0
        self._warned: dict[str, set[str]] = {"held": set(), "closed": set(), "down": set()}

    # What has happened.

    def changed(self, host: str, level: int, why: str) -> None:
        """The host gets ``level`` requests at once from now on."""
        self._note(f"{label(host)}: {level} at once: {why}")

    def slowed(self, host: str, now: float, level: int, times: int = 1) -> None:
        """The host has refused requests, which counts as so many ``times``, and gets ``level`` at once now."""
        trouble = self._trouble(host)
        trouble.asked += times
        trouble.level = level
        trouble.slowed_at = now

    def held(self, host: str, now: float, until: float, why: str = "", *, refuses: bool = False) -> None:
        """Nothing is asked of the host before ``until``: because of ``why``, else because it said so.

        ``refuses``: it could be reached, but let nobody have anything.
        """
        trouble = self._trouble(host)
        seconds, waits = until - now, trouble.until > now
        if waits and until <= trouble.until + min(1.0, seconds / 2):  # nothing new: refusals of one burst
            trouble.until = max(trouble.until, until)
            return
        trouble.brief = seconds < BRIEF and (trouble.brief or not waits)
        trouble.until = until
        wait = format_duration(seconds)
        said = f"wants to be left alone for {wait}"
        if why:
            state = "refuses every request" if refuses else "cannot be reached"
            said = f"{state}, next try in {wait}: {_cause(host, why)}"
        self._tell("held" if seconds >= LONG else None, host, said)

    def closed(self, host: str, seconds: float) -> None:
        """The host wants to be left alone for so long that it is not waited for."""
        trouble = self._trouble(host)
        if not trouble.closed:
            said = f"wants to be left alone for {format_duration(seconds)}: it is not asked any more"
            self._tell("closed", host, said)
        trouble.closed = max(trouble.closed, seconds)

    def down(self, host: str, tries: int, why: str) -> None:
        """The host has been given up after so many ``tries``, the last of which failed because of ``why``."""
        trouble = self._trouble(host)
        trouble.until = 0.0
        trouble.down = trouble.was_down = _cause(host, why) or "no reason known"
        self._tell("down", host, f"is down: gave up after {tries} tries: {trouble.down}")

    def back(self, host: str) -> None:
        """The host that was down answers again."""
        self._trouble(host).down = ""
        self._note(f"{label(host)} answers again")

    def _trouble(self, host: str) -> _Trouble:
        trouble = self._hosts.pop(host, None) or _Trouble()
        self._hosts[host] = trouble  # the newest
        if len(self._hosts) > REMEMBERED:
            self._hosts.popitem(last=False)
            self._forgotten += 1
        return trouble

    def _tell(self, kind: Literal["held", "closed", "down"] | None, host: str, said: str) -> None:
        warned = self._warned[kind] if kind else set()
        if kind is None or host in warned or len(warned) >= WARNINGS:
            self._note(f"{label(host)} {said}")
            return
        warned.add(host)
        last = " (-v tells of further hosts)" if len(warned) == WARNINGS else ""
        self._warn(f"{label(host)} {said}{last}")

    # What is told of it.

    def shown(self, now: float) -> tuple[str, ...]:
        """Return what the display may say at this time, best first and shortest last; empty for nothing."""
        hosts: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        for host, trouble in self._hosts.items():
            state = trouble.state(now)
            if state and self._busy(host):
                hosts[state].append(host)
        named: list[str] = []
        counts: list[str] = []
        rest = ""
        for kind, (one, more) in _KINDS.items():
            if found := hosts[kind]:
                rest += f", {len(found)} {more}" if named else ""
                counts.append(f"1 host {one}" if len(found) == 1 else f"{len(found)} hosts {more}")
                named.append(
                    f"{_short(label(found[0]))} {self._hosts[found[0]].words(now)}" if len(found) == 1 else counts[-1]
                )
        if not counts:
            return ()
        return tuple(dict.fromkeys((", ".join(named), named[0] + rest, named[0], counts[0] + rest, counts[0])))

    def found(self, hosts: Iterable[Host], *, every: bool = False) -> list[str]:
        """Return the summary's lines: the most troubled hosts, and with ``every`` the busiest of the others too.

        ``hosts`` are those that the scheduler still knows, for how much they were found to stand.
        """
        levels: dict[str, str] = {}
        others: list[Host] = []
        for host in hosts:
            if host.name in self._hosts:
                levels[host.name] = _found(host)
            elif every and host.limit.highest:
                others.append(host)
        ranked = sorted(self._hosts.items(), key=lambda pair: pair[1].rank, reverse=True)
        told = {host: text for host, trouble in ranked if (text := trouble.told(levels.get(host, "")))}
        rest = len(told) + self._forgotten - LISTED
        shown = dict(list(told.items())[:LISTED])
        more = [f"and {'at least ' if self._forgotten else ''}{counted(rest, 'more host')}"]
        busiest = sorted(others, key=lambda host: host.answers, reverse=True)[:LISTED]
        return _lines(shown) + (more if rest > 0 else []) + _lines({host.name: _found(host) for host in busiest})


def label(host: str) -> str:
    """Name the host for people: without its scheme, and without a port that is the scheme's own."""
    scheme, _, rest = host.partition("://")
    return _name(host) if rest.endswith({"http": ":80", "https": ":443"}.get(scheme, "/")) else rest


def _name(host: str) -> str:
    return host.partition("://")[2].rpartition(":")[0]


def _lines(told: dict[str, str]) -> list[str]:
    labels = Counter(map(label, told))  # those of the same name are told with their schemes
    return [f"{label(host) if labels[label(host)] == 1 else host}: {text}" for host, text in told.items()]


def _found(host: Host) -> str:
    """How much the host was found to stand; empty where it has not answered."""
    limit = host.limit
    return f"{min(limit.level, limit.highest or limit.level)} at once" if host.answers else ""


def _short(name: str) -> str:
    return name if len(name) <= COLUMNS else fit(name, COLUMNS)


def _cause(host: str, reason: str) -> str:
    """Take out of the error's sentence that the host was not reached, and its name: both are told already."""
    cause = reason.removesuffix(f": {_name(host)}")
    what, named, why = reason.partition(f": {_name(host)} (")
    if failed := _NOT_CONNECTED.fullmatch(reason):
        cause = _uncapitalized(failed[1])
    elif named and why.endswith(")"):
        cause = f"{what}: {_uncapitalized(why[:-1])}"
    return cause if len(cause) <= REASON else f"{cause[: REASON - 1]}…"


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]
