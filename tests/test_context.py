"""An item's name while its responses change their mind, and how those who listen are told from wherever it happens."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from downloader import naming
from downloader.claims import NameLedger
from downloader.context import Context, Name
from downloader.errors import StopRun
from downloader.items import Address, Item, Listener
from downloader.options import Options
from downloader.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Slow(Listener):
    """A listener that waits, as for the reader of a pipe, before it takes note."""

    def __init__(self) -> None:
        self.read = Event()
        self.heard: list[str] = []

    def noted(self, message: str) -> None:
        self.read.wait(30)
        self.heard.append(message)

    warned = noted


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    with closing(Transport(Options(), spare=1)) as transport:
        yield transport


def new_context(transport: Transport, *listeners: Listener) -> Context:
    return Context(Options(output="no-such-folder"), transport, NameLedger(), listeners=listeners)


# Names


def item(number: int) -> Item:
    return Item(Address(f"https://h/{number}"), index=number)


def test_a_name_that_was_settled_unnoticed_is_given_back(transport: Transport) -> None:
    context = new_context(transport)
    context.ledger.enter(1, "https://h/first", None)
    second = Name(item(2), "film.mp4", context.ledger.enter(2, "https://h/2", "film.mp4"))
    context.ledger.drop(1)
    for wanted in ("other.mp4", "film.mp4"):
        second.want(wanted, context)
    assert second.given == "film.mp4"


def test_a_name_that_was_given_up_is_given_back(transport: Transport) -> None:
    context = new_context(transport)
    name = Name(item(1), None, None)
    given_names = []
    for wanted in ("film.mp4", "other.mp4", "film.mp4", "other.mp4", "film.mp4"):
        name.want(wanted, context)
        given_names.append(name.given)
    assert given_names == ["film.mp4", "other.mp4", "film.mp4", "other.mp4", "film.mp4"]


def test_a_name_that_was_settled_before_any_response_is_given_back(transport: Transport) -> None:
    context = new_context(transport)
    name = Name(item(1), "film.mp4", context.ledger.enter(1, "https://h/1", "film.mp4"))
    for wanted in ("other.mp4", "film.mp4"):
        name.want(wanted, context)
    assert name.given == "film.mp4"


def test_a_name_that_was_settled_late_is_given_back(transport: Transport) -> None:
    context = new_context(transport)
    context.ledger.enter(1, "https://h/first", None)
    second = Name(item(2), "film.mp4", context.ledger.enter(2, "https://h/2", "film.mp4"))
    second.want("film.mp4", context)
    assert second.given is None, "the first has not said its name"
    context.ledger.drop(1)
    for wanted in ("film.mp4", "other.mp4", "film.mp4"):
        second.want(wanted, context)
    assert second.given == "film.mp4"


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["a.jpg", "A.jpg", "b.jpg"])), max_size=20))
def test_an_item_keeps_what_it_was_given_for_each_name_and_no_other_gets_it(
    transport: Transport, steps: list[tuple[int, str]]
) -> None:
    context = new_context(transport)
    names = {
        number: Name(item(number), None, context.ledger.enter(number, f"https://h/{number}", None))
        for number in (1, 2, 3)
    }
    kept: dict[tuple[int, str], str] = {}
    for number, wanted in steps:
        name = names[number]
        name.want(wanted, context)
        if name.given is not None:
            assert kept.setdefault((number, wanted), name.given) == name.given
    whose: dict[str, int] = {}
    for (number, _), given_name in kept.items():
        assert whose.setdefault(naming.key(given_name), number) == number


# Who is told


TELL: tuple[Callable[[Context, str], None], ...] = (Context.note, Context.warn)


@pytest.mark.parametrize("tell", TELL, ids=["note", "warn"])
def test_a_listener_may_wait_though_it_is_told_on_the_hub(
    transport: Transport, tell: Callable[[Context, str], None]
) -> None:
    slow, quick = Slow(), Slow()
    quick.read.set()
    context = new_context(transport, slow, quick)
    for message in ("one", "two", "three"):
        gevent.get_hub().loop.run_callback(tell, context, message)
    gevent.sleep(0.01)
    assert slow.heard == []
    slow.read.set()
    with gevent.Timeout(30):
        while len(slow.heard) + len(quick.heard) < 6:
            gevent.sleep(0.01)
    assert slow.heard == quick.heard == ["one", "two", "three"]


@pytest.mark.parametrize("tell", TELL, ids=["note", "warn"])
def test_in_a_greenlet_a_listener_has_heard_before_anything_goes_on(
    transport: Transport, tell: Callable[[Context, str], None]
) -> None:
    slow = Slow()
    context = new_context(transport, slow)
    gevent.spawn(slow.read.set)
    tell(context, "one")
    assert slow.heard == ["one"]


def test_a_warning_is_told_once(transport: Transport) -> None:
    slow = Slow()
    slow.read.set()
    context = new_context(transport, slow)
    gevent.get_hub().loop.run_callback(context.warn, "one")
    gevent.sleep(0.01)
    for message in ("one", "two", "two"):
        context.warn(message)
    assert slow.heard == ["one", "two"]


# What stops a run


@pytest.mark.parametrize(
    ("output", "folder", "stops"),
    [
        ("out", None, True),
        ("out", "out", True),
        ("out/", "out", True),
        ("link", "link", True),
        ("link", "link/sub", False),
        ("out", "out/sub", False),
        ("out", "out/sub/new", False),
        (".", ".", True),
        (".", "out", False),
        ("", ".", True),
        ("missing", "missing/sub", True),
    ],
)
def test_only_what_concerns_the_whole_output_stops_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Transport, output: str, folder: str | None, stops: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("out")
    context = Context(Options(output=output), transport, NameLedger())
    error = StopRun("cannot write")
    error.folder = folder
    assert context.stops(error) is stops
