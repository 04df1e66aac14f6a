"""How many requests one host can stand at once: found by trying, for each host by itself. Pure, the clock passed in.

A level is a number of requests in flight. The rules:

- Begin at `START`. As long as throughput grows with the level, multiply it after each round: as many answers as there
  are requests in flight, so about a round trip. By `RAMP` until the level first falls, by `GROWTH` from then on.
- A round at a level without a refusal proves that level.
- Growth that does not pay is taken back: by Little's law throughput is the level divided by the mean time a request
  takes, so time that rises as fast as the level has gained nothing. That a growth pays may be seen from the first
  answers; that it does not takes a whole round of requests that began after it, and `SURE` of them.
- A refusal above the proven level ends growth: fall back to what was proven, or to how many are still being answered
  if that is more. A refusal of a proven level: to how many are still being answered, but by half at most. All refusals
  of requests that were already under way are one signal.
- Go above a level that was refused, by `STEP`, after `PROBE` seconds, where that fails after `RARER` times as long, and
  so on up to `RAREST`; but no sooner than after `PATIENT` times the pause that the host asked for. Above a level from
  which growth did not pay, which costs nothing, after `LOOK` seconds, then twice as long each time: by then it is known
  well what the level brings, which it was not from one round.
- A single refusal that asks for no pause, at a proven level, may be that one file's own: it takes two of them in a
  round to be the host's.
- Where what was refused is refused again on its next try, while most others are answered, refusals are the files' own:
  they lower nothing, and what was lowered before may be tried again at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

START: Final = 8
"""Requests in flight to a host that nothing is known of."""
CEILING: Final = 96
"""Most requests in flight to one host unless ``--per-host`` says so: below the 100 streams that servers of HTTP/2
are asked to allow (RFC 9113 section 6.5.2). Far servers could be asked for more; benchmarks/README.md has figures."""
RAMP: Final = 2.0
"""How much more is tried after a round while nothing has spoken against it."""
GROWTH: Final = 1.5
"""The same once something has."""
STEP: Final = 1.25
"""How much a probe goes above the level that was left."""
SURE: Final = 32
"""Requests that it takes to say that a growth has not paid."""
AVERAGED: Final = 8
"""Rounds over which the throughput of a level is averaged that is kept."""
SHARE: Final = 0.3
"""The least part of a growth in level that must come back as throughput."""
LARGE: Final = 256 * 1024
"""Mean bytes of a response from which its bytes count, and not how many of them there are."""
LOOK: Final = 0.5
"""Seconds until more is tried again than what paid."""
PROBE: Final = 4.0
"""Seconds until more is tried again than what was not refused."""
RARER: Final = 1.25
RAREST: Final = 300.0
PATIENT: Final = 4.0
OWN: Final = 0.5
"""The part of the further tries of refused requests that must be refused again to blame the files."""
MANY: Final = 0.5
"""The part of all requests that must be refused to blame the host all the same."""
FLOW: Final = 0.5
"""Seconds over which the bytes of long transfers are counted."""
_REFUSED: Final = "it refused more"


class _Round(NamedTuple):
    throughput: float
    large: bool
    level: int


def _pays(this: _Round, before: _Round | None) -> bool | None:
    """Tell whether what was gained since ``before`` is worth the growth; None where the two cannot be compared."""
    if before is None or before.large != this.large or before.level >= this.level:
        return None
    gained = this.throughput / max(before.throughput, 1e-9) - 1
    return gained >= SHARE * (this.level / before.level - 1)


class Limit:
    """The level of one host. ``level`` and ``epoch`` are read for each request, and told again when it ends."""

    __slots__ = (
        *("_again", "_answers", "_before", "_careful", "_doubted", "_epoch_of_fall", "_floor", "_flow", "_full"),
        *("_growing", "_judged", "_look", "_mark", "_most", "_next_probe", "_proven", "_refused", "_samples"),
        *("_size", "_took", "_wait"),
        *("epoch", "falls", "highest", "level", "why"),
    )

    def __init__(self, most: int = CEILING) -> None:
        """``most`` is never exceeded."""
        self.level = min(START, most)
        """Requests that may be in flight."""
        self.epoch = 0
        """Grows with each change of the level."""
        self.falls = 0
        """How often the host asked to slow down."""
        self.highest = 0
        """The highest level that was ever proven."""
        self.why = ""
        """Why the level last changed."""
        self._most = most
        self._growing = True
        self._careful = False
        self._proven = 0
        self._floor = 1
        self._epoch_of_fall = 0
        self._doubted = False
        self._judged = 0  # requests since the first that was refused
        self._refused = self._again = 0.0  # parts of the latest requests, and of those that were tried before
        self._before: _Round | None = None
        self._flow: _Round | None = None
        self._wait, self._look = PROBE, LOOK
        self._next_probe = 0.0
        self._begin_round()

    def _begin_round(self) -> None:
        self._answers = self._full = self._samples = self._size = 0
        self._took = 0.0
        self._mark: tuple[float, int] | None = None

    def answered(
        self, now: float, epoch: int, running: int, took: float | None, size: int, *, again: bool = False
    ) -> None:
        """The host has answered a request of ``epoch``, which was one of ``running``.

        ``took`` is the seconds from when it was sent to the end of the response, None if unknown, ``size`` its bytes.
        ``again``: it had failed before.
        """
        if self._judged:
            self._judged += 1
            self._refused -= self._refused / min(32, self._judged)
            if again:
                self._again -= self._again / 4
        self._answers += 1
        if running >= self.level:
            self._full += 1
        if epoch == self.epoch and took is not None:
            self._samples += 1
            self._took += took
            self._size += size
        if self._answers >= self.level and self._samples * 3 >= self.level:
            self._end_round(now)

    def _end_round(self, now: float) -> None:
        full = self._full * 4 >= self._answers * 3
        large = self._size >= LARGE * self._samples
        amount = self._size if large else self._samples
        this = _Round(self.level * amount / max(self._took, 1e-9), large, self.level)
        if self._growing and full and self._samples < self._needed(this):
            return
        self._begin_round()
        self._doubted = False
        if not full:  # nothing was learned: there was less to ask for
            return
        self._proven = self.level
        self.highest = max(self.highest, self.level)
        if self._growing:
            self._before = self._judge(now, this, self._before)
            self._flow = None
        else:
            self._before = self._keep(now, this, self._before)

    def _needed(self, this: _Round) -> int:
        """Return how many requests it takes to judge a growth.

        The first requests after it came behind those that were under way, and had to wait longest; and the first to
        end are the quickest.
        """
        if self._careful:
            return max(2 * self.level, SURE)
        return max(self.level, SURE) if _pays(this, self._before) is False else 0

    def _keep(self, now: float, this: _Round, before: _Round | None) -> _Round:
        """Stay at the level until it is time to try more; return what that is to be compared with."""
        if before is not None and (before.level, before.large) == (this.level, this.large):
            this = this._replace(throughput=before.throughput + (this.throughput - before.throughput) / AVERAGED)
        if now >= self._next_probe and self.level < self._most:
            self._growing = True
            step = STEP if self.why == _REFUSED else GROWTH
            self._set(min(self._most, max(self.level + 1, int(self.level * step))), "trying more")
        return this

    def flowed(self, now: float, received: int, flowing: int) -> None:
        """The host has sent ``received`` body bytes so far, with as many requests in flight as it may have.

        ``flowing`` of them have brought some: the others may be too new to. To be called now and then: transfers that
        take long tell by their bytes what short ones tell by their end.
        """
        if flowing * 4 < self.level * 3:
            self._mark = None
            return
        if self._mark is None:
            self._mark = (now, received)
            return
        since, before = self._mark
        if now - since < 0.9 * FLOW or received <= before:
            return
        this = _Round((received - before) / (now - since), True, self.level)
        if self._growing:
            self._begin_round()
            self._flow = self._judge(now, this, self._flow)
            self._before = None
        else:
            self._mark = (now, received)
            self._flow = self._keep(now, this, self._flow)

    def _judge(self, now: float, this: _Round, before: _Round | None) -> _Round | None:
        """Grow if the last growth has paid, else take it back; return what the next is compared with."""
        pays = _pays(this, before)
        if before is not None and pays is False:
            self._settle(now + self._look, before.level, "more gained nothing")
            self._look = min(RAREST, 2 * self._look)
            return None
        if pays:
            self._wait, self._look = PROBE, LOOK
        if self.level >= self._most:
            self._growing = False
            self._next_probe = now + self._wait
            return None
        growth = GROWTH if self._careful else RAMP
        self._set(min(self._most, max(self.level + 1, int(self.level * growth))), "it keeps up")
        return this

    def refused(self, now: float, epoch: int, running: int, *, pause: float | None, again: bool = False) -> bool:
        """The host has refused a request of ``epoch``; ``running`` are left. False where that may be the file's fault.

        ``pause`` is the number of seconds the host wants to be left alone, if it said so. ``again``: the request had
        failed before.
        """
        self._judged += 1
        self._refused += (1 - self._refused) / min(32, self._judged)
        if again:
            self._again += (1 - self._again) / 4
        if self._again > OWN and self._refused < MANY:
            if self.why == _REFUSED:
                self._next_probe, self._wait, self._careful = now, PROBE, False
            return False
        if epoch < self._epoch_of_fall:  # it was under way already
            lower = max(self._floor, min(self.level, running))
            if lower < self.level:
                self._set(lower, self.why)
                self._epoch_of_fall = self.epoch
            return True
        proven = self.level <= self._proven
        if proven and pause is None and not self._doubted:
            self._doubted = True
            return False
        self.falls += 1
        self._floor = self._proven
        if proven:
            self._wait = PROBE
        if proven or not self._proven:
            self._floor = max(1, self.level // 2)
        again_at = now + (pause or 0.0) + self._wait
        if not proven and self._proven:
            self._wait = min(RAREST, RARER * self._wait)
        self._settle(again_at, max(self._floor, min(self.level, running)), _REFUSED)
        if pause:
            self._next_probe = max(self._next_probe, now + (1 + PATIENT) * pause)
        self._epoch_of_fall = self.epoch
        return True

    def restore(self, level: int, falls: int) -> None:
        """Take refusals back that had nothing to do with how many requests there were."""
        if self.level < level:
            self._set(level, "it was away")
        self.falls = falls

    def _settle(self, next_probe: float, level: int, why: str) -> None:
        self._growing, self._careful = False, True
        self._before = self._flow = None
        self._next_probe = next_probe
        self._set(level, why)

    def _set(self, level: int, why: str) -> None:
        self.level, self.why = level, why
        self.epoch += 1
        self._begin_round()
