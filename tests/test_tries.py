"""Tries are values; mirrors are asked in rounds, and every sequence of failures comes to an end."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors
from downloader.resume import RESUME_FROM
from downloader.retry import BASE, CAP, PATIENCE
from downloader.tries import Headway, Tries


def refusal(seconds: float | None = None) -> errors.StatusError:
    error = errors.StatusError("HTTP 503 Service Unavailable", status=503)
    error.retryable = True
    error.retry_after = seconds
    return error


def missing() -> errors.StatusError:
    return errors.StatusError("HTTP 404 Not Found", status=404)


def backoff(number: int, jitter: float) -> float:
    """The seconds before the retry with this number, from 1."""
    return min(CAP, BASE * 2.0 ** (number - 1)) * (0.5 + jitter / 2)


def after(tries: Tries, error: errors.ItemError, *, progressed: bool = False, bound: bool = False) -> Tries:
    step = tries.next(error, progressed=progressed, bound=bound, jitter=0.5)
    assert step is not None
    return step[0]


def wait(tries: Tries, error: errors.ItemError, *, progressed: bool = False, jitter: float = 0.5) -> float:
    step = tries.next(error, progressed=progressed, bound=False, jitter=jitter)
    assert step is not None
    return step[1]


# What a try can end with, as letters: c a connection that broke, C after progress, B with a part that is bound to the
# address, n not found, N not found after progress, x a wrong checksum, h host busy, H busy for too long, l the part
# was lost, L lost after progress, s no space for a file of its size, m --max-time, i interrupted.
OUTCOMES: dict[str, tuple[errors.ItemError, bool, bool]] = {
    "c": (errors.ConnectError("x"), False, False),
    "C": (errors.ConnectError("x"), True, False),
    "B": (errors.ConnectError("x"), False, True),
    "n": (missing(), False, False),
    "N": (missing(), True, True),
    "x": (errors.ChecksumMismatch("x"), False, False),
    "h": (refusal(5), False, False),
    "H": (refusal(PATIENCE + 1), True, True),
    "l": (errors.FileLost("x"), False, False),
    "L": (errors.FileLost("x"), True, False),
    "s": (errors.NoRoom("x"), False, False),
    "m": (errors.DeadlineExceeded("x"), True, True),
    "i": (errors.Interrupted("x"), True, True),
}


def course(script: str, retries: int) -> str:
    """Play what each address answers, its last answer for ever; return who was asked, with a ~ for each wait."""
    answers = [list(reversed(letters)) for letters in script.split()]
    tries = Tries.first(len(answers), retries)
    asked = "0"
    while True:
        mine = answers[tries.address]
        error, progressed, bound = OUTCOMES[mine.pop() if len(mine) > 1 else mine[0]]
        step = tries.next(error, progressed=progressed, bound=bound, jitter=0.5)
        if step is None:
            return asked
        tries, delay = step
        asked += f"{' ~' if delay else ' '}{tries.address}"


@pytest.mark.parametrize(
    ("script", "retries", "expected"),
    [
        # One address.
        ("c", 0, "0"),
        ("c", 2, "0 ~0 ~0"),
        ("n", 2, "0"),
        ("cn", 5, "0 ~0"),
        ("H", 5, "0"),
        ("m", 5, "0"),
        ("i", 5, "0"),
        ("l", 2, "0 ~0 ~0"),
        ("l", 0, "0"),
        ("cm", 5, "0 ~0"),
        # Progress uses up no retry, where it is an error that may pass.
        ("CCCCc", 1, "0 ~0 ~0 ~0 ~0 ~0"),
        ("CCc", 0, "0 ~0 ~0"),
        ("CN", 5, "0 ~0"),
        ("L", 1, "0 ~0"),
        # Mirrors are asked at once, whatever the failure, and without retries.
        ("c c c", 0, "0 1 2"),
        ("n n n", 5, "0 1 2"),
        ("H n c", 0, "0 1 2"),
        # The next round is for those whose failures may pass.
        ("c c c", 1, "0 1 2 ~0 1 2"),
        ("n c n", 2, "0 1 2 ~1 ~1"),
        ("c n h", 1, "0 1 2 ~0 2"),
        ("c H h", 1, "0 1 2 ~0 2"),
        ("cn c", 2, "0 1 ~0 1 ~1"),
        ("cH cn", 5, "0 1 ~0 1"),
        # Who does not say when is asked before who does.
        ("h c", 1, "0 1 ~1 0"),
        # Progress, a lost part and a part that is bound to its address keep to the address, and then the round goes on.
        ("Cc c", 0, "0 ~0 1"),
        ("c Cc", 1, "0 1 ~1 ~0 1"),
        ("lc c", 1, "0 ~0 1"),
        ("l c", 1, "0 ~0"),
        ("m c", 5, "0"),
        ("i c", 5, "0"),
        ("B c c", 2, "0 ~0 ~0 1 2"),
        ("B c c", 0, "0 1 2"),
        ("BBn c c", 5, "0 ~0 ~0 1 2 ~1 2 ~1 2 ~1 2"),
        ("c B", 2, "0 1 ~1 ~1"),
        ("N c", 0, "0 1"),
        # A wrong checksum: the same address once more, and only if no other gave one too.
        ("x", 0, "0 0"),
        ("x", 5, "0 0"),
        ("xc", 0, "0 0"),
        ("xc", 2, "0 0 ~0 ~0"),
        ("cx", 2, "0 ~0 0"),
        ("x n", 5, "0 1 0"),
        ("n x", 5, "0 1 1"),
        ("x x", 5, "0 1"),
        ("x x x", 5, "0 1 2"),
        ("x c", 1, "0 1 0 ~1"),
        ("xc c", 1, "0 1 0 ~0 1"),
        ("cx x c", 1, "0 1 2 1 ~0 2"),
        ("cx c cx", 2, "0 1 2 ~0 1 2 ~1"),
        ("xn n", 5, "0 1 0"),
        # Another address may have a smaller file; the same has not.
        ("s", 5, "0"),
        ("cs", 5, "0 ~0"),
        ("s c", 0, "0 1"),
        ("s c", 1, "0 1 ~1"),
        ("c s", 1, "0 1 ~0"),
        ("s s n", 5, "0 1 2"),
        ("s xc", 0, "0 1 1"),
    ],
)
def test_who_is_asked_and_in_which_order(script: str, retries: int, expected: str) -> None:
    assert course(script, retries) == expected


def test_a_try_is_a_value_that_counts() -> None:
    first = Tries.first(1, 2)
    second = after(first, errors.ConnectError("reset"))
    third = after(second, errors.BodyError("short"))
    assert [tries.attempt for tries in (first, second, third)] == [1, 2, 3]
    assert [tries.left for tries in (first, second, third)] == [2, 1, 0]
    assert third.next(errors.ConnectError("reset"), progressed=False, bound=False, jitter=0.5) is None
    assert pickle.loads(pickle.dumps(third)) == third  # noqa: S301 our own
    with pytest.raises(AttributeError):
        first.left = 9  # type: ignore[misc]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.ConnectError("x"), True),
        (errors.TimedOut("x"), True),
        (errors.BodyError("x"), True),
        (errors.FileLost("x"), True),
        (refusal(), True),
        (refusal(PATIENCE), True),
        (refusal(PATIENCE + 1), False),
        (missing(), False),
        (errors.TlsError("x"), False),
        (errors.NotMedia("x"), False),
        (errors.RedirectError("x"), False),
        (errors.ProtocolError("x"), False),
        (errors.AddressRefused("x"), False),
        (errors.SizeError("x"), False),
        (errors.DeadlineExceeded("x"), False),
        (errors.Interrupted("x"), False),
        (errors.InternalError("x"), False),
        (errors.NameRefused("x"), False),
        (errors.NoRoom("x"), False),
    ],
    ids=lambda value: value.kind if isinstance(value, errors.GdlError) else str(value),
)
def test_only_what_may_pass_is_tried_again(error: errors.ItemError, again: bool, bound: bool) -> None:
    step = Tries.first(1, 5).next(error, progressed=False, bound=bound, jitter=0.5)
    assert (step is not None) is again
    assert Tries.first(1, 0).next(error, progressed=False, bound=bound, jitter=0.5) is None


@pytest.mark.parametrize("error", [error for error, _, _ in OUTCOMES.values()], ids=lambda error: error.kind)
def test_a_mirror_is_asked_for_every_failure_of_the_servers_side(error: errors.ItemError) -> None:
    step = Tries.first(2, 0).next(error, progressed=False, bound=False, jitter=0.5)
    theirs = isinstance(error, errors.TransferError | errors.NoRoom) and error.kind != "max-time"
    assert (step is not None and step[0].address == 1 and step[1] == 0.0) is theirs


# Waits.


@given(tries=st.integers(1, 2000), bound=st.booleans(), jitter=st.floats(0, 1))
def test_one_address_backs_off_exponentially_up_to_a_cap(tries: int, bound: bool, jitter: float) -> None:
    policy = Tries.first(1, tries)
    for number in range(1, min(tries, 12) + 1):
        step = policy.next(errors.ConnectError("x"), progressed=False, bound=bound, jitter=jitter)
        assert step is not None
        assert step == (Tries(tries - number, number + 1, waits=number), backoff(number, jitter))
        policy = step[0]
    assert BASE / 2 <= wait(Tries(1, waits=tries), errors.ConnectError("x"), jitter=jitter) <= CAP


@given(jitter=st.floats(0, 1))
def test_backoff_doubles_until_its_cap(jitter: float) -> None:
    delays = [wait(Tries(1, waits=waits), errors.ConnectError("x"), jitter=jitter) for waits in range(12)]
    for before, later in pairwise(delays):
        assert later == pytest.approx(min(2 * before, CAP * (0.5 + jitter / 2)))


@given(seconds=st.floats(0, PATIENCE), waits=st.integers(0, 50), progressed=st.booleans(), jitter=st.floats(0, 1))
def test_a_server_is_left_alone_as_long_as_it_asks_and_little_longer(
    seconds: float, waits: int, progressed: bool, jitter: float
) -> None:
    assert seconds <= wait(Tries(1, waits=waits), refusal(seconds), progressed=progressed, jitter=jitter) <= seconds + 1


@given(waits=st.integers(0, 50), jitter=st.floats(0, 1))
def test_after_progress_backoff_starts_anew(waits: int, jitter: float) -> None:
    tries = Tries(1, waits=waits)
    assert wait(tries, errors.ConnectError("x"), progressed=True, jitter=jitter) == backoff(1, jitter)
    again = after(tries, errors.ConnectError("x"), progressed=True)
    assert again.left == 1
    assert wait(again, errors.ConnectError("x"), jitter=jitter) == backoff(1, jitter)


def test_a_round_of_mirrors_counts_as_one_failure_for_the_backoff() -> None:
    tries = after(after(Tries.first(3, 5), errors.ConnectError("x")), errors.ConnectError("x"))
    assert wait(tries, errors.ConnectError("x")) == backoff(1, 0.5)


@pytest.mark.parametrize(
    ("wishes", "order", "least", "most"),
    [
        ((30.0, 5.0, 400.0), [1, 0, 2], 5.0, 6.0),
        ((30.0, 5.0, PATIENCE + 1), [1, 0], 5.0, 6.0),
        ((30.0, None, 5.0), [1, 2, 0], BASE / 2, BASE),
        ((7.0, 7.0, 7.0), [0, 1, 2], 7.0, 8.0),
        ((None, None, None), [0, 1, 2], BASE / 2, BASE),
    ],
)
def test_the_next_round_waits_for_the_first_that_wants_to_be_asked(
    wishes: tuple[float | None, ...], order: list[int], least: float, most: float
) -> None:
    tries = Tries.first(3, 1)
    for wish in wishes[:-1]:
        tries = after(tries, refusal(wish))
    assert least <= wait(tries, refusal(wishes[-1])) <= most
    asked = [after(tries, refusal(wishes[-1]))]
    while asked[-1].ahead:
        asked.append(after(asked[-1], errors.ConnectError("x")))
    assert [tries.address for tries in asked] == order


# Any sequence of failures.

PROGRESS = 4
"""How often a try brings the file further, in the sequences below: no file is endless."""


@given(data=st.data(), addresses=st.integers(1, 4), retries=st.integers(0, 4))
def test_every_sequence_of_failures_ends_and_is_fair(data: st.DataObject, addresses: int, retries: int) -> None:
    tries = Tries.first(addresses, retries)
    asked = [0]
    mismatches: list[int] = []
    may_pass: dict[int, bool] = {}
    repeated = soon = 0
    while True:
        before = tries
        error, progressed, bound = OUTCOMES[data.draw(st.sampled_from("ccccCBnNxxxhHlLs" + "mi" * (len(asked) > 3)))]
        progressed = progressed and soon < PROGRESS
        jitter = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        theirs = isinstance(error, errors.TransferError | errors.NoRoom)
        passes = error.retryable and (error.retry_after or 0.0) <= PATIENCE
        may_pass[before.address] = passes
        mismatches += [before.address] * isinstance(error, errors.ChecksumMismatch)
        step = before.next(error, progressed=progressed, bound=bound, jitter=jitter)
        if step is None:
            break
        tries, delay = step
        assert theirs or (passes and tries.address == before.address)
        assert error.kind != "max-time"
        assert tries.attempt == before.attempt + 1
        assert 0 <= tries.address < addresses
        assert 0 <= delay <= PATIENCE + 1
        if tries.left == before.left and delay:
            assert progressed
            assert tries.address == before.address
            soon += 1
        else:
            # A wait uses up a retry, and what does not wait is another address, or a wrong one once more.
            assert tries.left == before.left - (delay > 0)
            assert delay or tries.address != before.address or mismatches == [tries.address]
        if may_pass.get(tries.address) is False:
            assert mismatches == [tries.address]
            repeated += 1
        asked.append(tries.address)
        assert len(asked) <= addresses * (retries + 1) + 1 + soon
    assert repeated <= 1
    if theirs and error.kind != "max-time":
        assert set(asked) == set(range(addresses))
        assert not tries.left or not any(may_pass.values())
        assert len(mismatches) != 1 or asked.count(mismatches[0]) > 1
    elif passes:
        assert not tries.left
    assert all(mismatches.count(address) <= 2 for address in mismatches)


@given(start=st.text("cCLNnhHm", max_size=6), end=st.sampled_from("chHnmi"), mirrors=st.integers(1, 3))
def test_mirrors_never_take_tries_from_the_url_itself(start: str, end: str, mirrors: int) -> None:
    alone = course(start + end, 3).split()
    together = course(" ".join([start + end, *("n" * mirrors)]), 3).split()
    assert sum(one.endswith("0") for one in together) == len(alone)


def test_the_first_try_is_shared() -> None:
    assert Tries.first(1, 5) is Tries.first(1, 5)
    assert Tries.first(2, 5) != Tries.first(1, 5)


# What the tries have brought on disk, in mebibytes. A try leaves some, kept or not; "found" is from an earlier run.


def mebibytes(number: float) -> int:
    return int(number * RESUME_FROM)


@pytest.mark.parametrize(
    ("found", "left", "expected"),
    [
        # Progress is a mebibyte more than ever.
        ([0], [(1, True)], [True]),
        ([0], [(0.99, True)], [False]),
        ([0], [(1, True), (2, True), (2.5, True), (3, True), (4, True)], [True, True, False, False, True]),
        ([0], [(0.5, True), (1, True), (2, True)], [False, False, True]),
        # What is begun again has to get further than what was there before.
        ([0], [(3, True), (2, True), (3.5, True), (4.5, True)], [True, False, False, True]),
        # What cannot be continued is none, and neither is the same once more.
        ([0], [(5, False), (5, True), (5, True), (6, True)], [False, True, False, True]),
        # What an earlier run left is none of this one's.
        ([3], [(3, True)], [False]),
        ([3], [(3.9, True)], [False]),
        ([3], [(4, True)], [True]),
        ([3], [(2, True), (3.5, True), (4.5, True)], [False, False, True]),
        # What a try finds is what the one before it left.
        ([0, 2, 3], [(2, True), (3, True), (3.1, True)], [True, True, False]),
        ([3, 0, 1], [(3.1, True), (1, True), (2, True)], [False, False, False]),
    ],
)
def test_progress_is_what_gets_the_file_further_than_ever(
    found: list[float], left: list[tuple[float, bool]], expected: list[bool]
) -> None:
    headway = Headway()
    assert not headway.progressed
    told = []
    for number, (there, kept) in enumerate(left):
        headway.begin()
        if number < len(found):
            headway.found(mebibytes(found[number]))
        headway.ended("https://h/a", mebibytes(there), kept=kept, provable=False)
        told.append(headway.progressed)
    assert told == expected


def test_a_try_that_goes_on_after_its_part_was_closed_keeps_its_progress() -> None:
    headway = Headway()
    headway.begin()
    for there in (mebibytes(2), mebibytes(2.5)):
        headway.ended("https://h/a", there, kept=True, provable=False)
    assert headway.progressed
    headway.begin()
    assert not headway.progressed


FIRST, MIRROR = "https://h/a", "https://mirror/a"


@pytest.mark.parametrize(
    ("ended", "bound"),
    [
        ([], []),
        ([(FIRST, True, False)], [FIRST]),
        ([(MIRROR, True, False)], [MIRROR]),
        # With a checksum any address may continue it.
        ([(FIRST, True, True)], []),
        ([(FIRST, False, False)], []),
        ([(FIRST, False, True)], []),
        # The last that wrote decides.
        ([(FIRST, True, False), (MIRROR, True, False)], [MIRROR]),
        ([(FIRST, True, False), (MIRROR, False, False)], []),
        ([(FIRST, False, False), (FIRST, True, False)], [FIRST]),
    ],
)
def test_a_part_is_bound_to_the_address_it_came_from(ended: list[tuple[str, bool, bool]], bound: list[str]) -> None:
    headway = Headway()
    for url, kept, provable in ended:
        headway.ended(url, RESUME_FROM, kept=kept, provable=provable)
    assert [url for url in (FIRST, MIRROR) if headway.bound(url)] == bound


@given(
    earlier=st.integers(0, 9 * RESUME_FROM),
    left=st.lists(st.tuples(st.integers(0, 9 * RESUME_FROM), st.booleans()), max_size=20),
)
def test_a_file_makes_no_more_headway_than_it_has_mebibytes(earlier: int, left: list[tuple[int, bool]]) -> None:
    headway = Headway()
    headway.found(earlier)
    made = 0
    for there, kept in left:
        headway.begin()
        headway.ended(FIRST, there, kept=kept, provable=False)
        made += headway.progressed
        assert headway.bound(FIRST) is kept
    assert made <= max(0, max((there for there, _ in left), default=0) - earlier) // RESUME_FROM


# A host that has too much to do.


def before(error: errors.ItemError, *, left: int = 2, addresses: int = 1, at: int = 0) -> Tries:
    """The tries of an item before ``error``, of which ``left`` are left and so many addresses were asked."""
    tries = Tries.first(addresses, left)
    for _ in range(at):
        tries = after(tries, error)
    return tries


@pytest.mark.parametrize(
    ("error", "addresses", "at", "free", "left", "address"),
    [
        # It is the host's fault: no retry is used up, and the same address is asked.
        (refusal(), 1, 0, True, 2, 0),
        (refusal(5), 1, 0, True, 2, 0),
        (errors.ConnectError("x"), 1, 0, True, 2, 0),
        # It may be the item's own.
        (refusal(), 1, 0, False, 1, 0),
        (refusal(5), 1, 0, False, 1, 0),
        # There are other addresses first.
        (refusal(5), 3, 0, True, 2, 1),
        (refusal(5), 3, 1, True, 2, 2),
        (refusal(5), 3, 2, True, 2, 2),
        (refusal(5), 3, 2, False, 1, 0),
        # Our own failures are no host's.
        (errors.FileLost("x"), 1, 0, True, 1, 0),
    ],
)
def test_a_busy_host_uses_up_no_retry(
    error: errors.ItemError, addresses: int, at: int, free: bool, left: int, address: int
) -> None:
    tries = before(error, addresses=addresses, at=at)
    step = tries.next(error, progressed=False, bound=False, jitter=0.5, free=free)
    assert step is not None
    assert (step[0].left, step[0].address, step[0].attempt) == (left, address, at + 2)


@pytest.mark.parametrize(
    "error", [missing(), refusal(PATIENCE + 1), errors.DeadlineExceeded("x"), errors.NotMedia("x")]
)
def test_what_never_helps_is_not_tried_for_free(error: errors.ItemError) -> None:
    assert Tries.first(1, 5).next(error, progressed=False, bound=False, jitter=0.5, free=True) is None


@given(jitter=st.floats(0, 1), waits=st.integers(0, 50))
def test_a_free_try_waits_for_the_host_alone_or_for_a_first_backoff(jitter: float, waits: int) -> None:
    tries = Tries(0, waits=waits)
    for error, delay in ((refusal(7), 0.0), (refusal(), backoff(1, jitter))):
        step = tries.next(error, progressed=False, bound=False, jitter=jitter, free=True)
        assert step == (Tries(0, attempt=2, waits=waits), delay)
