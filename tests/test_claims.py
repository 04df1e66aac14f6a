"""Names are given once each and in the list's order; what was seen is remembered exactly, in bounded memory."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from downloader import naming
from downloader.claims import BATCH, LONG, MOST_NUMBERED, MOST_WAITING, NameLedger, SeenSet
from downloader.errors import StopRun

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a.jpg", "A.jpg", "b.jpg", "straße.png", "STRASSE.png", "x/a.jpg", "café.gif", "cafe\u0301.gif", "noext")


def url(index: int) -> str:
    return f"https://h/{index}"


# SeenSet


TEXTS = st.text(alphabet="abÄ\ud800", max_size=3)


@given(st.lists(TEXTS | TEXTS.map(lambda text: text * LONG)), st.integers(1, 4))
def test_a_seen_set_answers_as_a_set_does_however_little_it_may_keep(texts: list[str], limit: int) -> None:
    seen, model = SeenSet(limit=limit), set[str]()
    try:
        for text in texts:
            assert seen.add(text) == (text not in model)
            model.add(text)
        assert not any(seen.add(text) for text in model)
    finally:
        seen.close()


def test_a_seen_set_keeps_few_texts_in_memory() -> None:
    seen = SeenSet(limit=100)
    for number in range(1050):
        assert seen.add(str(number))
        assert len(seen._recent) + len(seen._leaving) < 200
    assert not any(seen.add(str(number)) for number in range(1050))
    seen.close()


def test_a_seen_set_keeps_little_of_long_texts() -> None:
    seen = SeenSet()
    texts = ["x" * 100_000 + str(number) for number in range(10)]
    assert all(map(seen.add, texts))
    assert not any(map(seen.add, texts))
    assert sum(map(len, seen._recent)) <= len(texts) * LONG
    seen.close()


def test_texts_move_to_the_disk_a_few_at_a_time() -> None:
    seen = SeenSet(limit=1000)
    moved = []
    for number in range(5000):
        before = len(seen._moving)
        assert seen.add(str(number))
        if before:
            moved.append(before - len(seen._moving))
            assert 0 <= moved[-1] <= BATCH
        else:
            assert len(seen._moving) in (0, 1000 - BATCH)
        assert not seen.add(str(number // 2))
    assert sum(moved) == len([size for size in moved if size]) // 3 * (1000 - BATCH)
    assert not any(seen.add(str(number)) for number in range(5000))
    seen.close()


def test_the_file_a_seen_set_spills_to_has_no_name_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", os.fspath(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    seen = SeenSet(limit=1000)
    for number in range(120_000):  # more than SQLite keeps in its cache
        seen.add(str(number))
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) > before
    seen.close()
    seen.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_temporary_folder_stops_the_run() -> None:
    seen = SeenSet(limit=2)
    for text in "ab":
        seen.add(text)
    assert seen._database is not None
    pages = seen._database.execute("PRAGMA page_count").fetchone()[0]
    seen._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StopRun, match="temporary folder") as caught:
        any(not seen.add(str(number)) for number in range(10_000))
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    seen.close()


# NameLedger: known names


def test_a_name_that_is_known_and_free_is_given_at_once() -> None:
    ledger = NameLedger()
    assert ledger.enter(1, url(1), "a.jpg") == "a.jpg"
    assert ledger.enter(2, url(2), "b.jpg") == "b.jpg"


def test_the_later_of_two_that_want_one_name_gets_the_variant_of_its_url() -> None:
    ledger = NameLedger()
    assert ledger.enter(1, url(1), "a.jpg") == "a.jpg"
    assert ledger.enter(2, url(2), "A.JPG") == naming.collided("A.JPG", url(2))


def test_names_that_differ_only_in_case_or_normalisation_are_one_name() -> None:
    ledger = NameLedger()
    given_names = [ledger.enter(index, url(index), name) for index, name in enumerate(NAMES)]
    keys = [naming.key(name) for name in given_names if name is not None]
    assert len(set(keys)) == len(NAMES)


def test_one_url_under_many_spellings_of_a_name_gets_as_many_names() -> None:
    ledger = NameLedger()
    names = [ledger.claim(name, url(1)) for name in ("aa.jpg", "Aa.jpg", "aA.jpg", "AA.jpg", "aa.JPG")]
    assert len({naming.key(name) for name in names}) == len(names)


# NameLedger: names that only the response tells


def test_an_item_without_a_name_holds_back_those_behind_it() -> None:
    ledger = NameLedger()
    assert ledger.enter(1, url(1), None) is None
    assert ledger.enter(2, url(2), "a.jpg") is None
    assert ledger.given(2) is None
    assert ledger.want(1, "a.jpg", url(1)) == "a.jpg"
    assert ledger.given(2) == naming.collided("a.jpg", url(2))
    assert ledger.given(2) is None, "a name is handed out once"


def test_a_watcher_is_told_once_when_its_name_is_settled() -> None:
    ledger = NameLedger()
    told: list[int] = []
    ledger.enter(1, url(1), None)
    ledger.enter(2, url(2), "a.jpg")
    ledger.watch(2, lambda: told.append(2))
    assert told == []
    ledger.want(1, "b.jpg", url(1))
    assert told == [2]


@pytest.mark.parametrize("way", ["drop", "yield_place"])
def test_an_item_that_ends_or_takes_long_holds_nobody_back(way: str) -> None:
    ledger = NameLedger()
    ledger.enter(1, url(1), None)
    ledger.enter(2, url(2), "a.jpg")
    getattr(ledger, way)(1)
    assert ledger.given(2) == "a.jpg"
    assert ledger.want(1, "a.jpg", url(1)) == naming.collided("a.jpg", url(1))


def test_a_name_known_beforehand_stays_with_its_item_even_if_that_failed() -> None:
    ledger = NameLedger()
    ledger.enter(1, url(1), None)
    ledger.enter(2, url(2), "a.jpg")
    ledger.enter(3, url(3), "a.jpg")
    ledger.drop(2)
    ledger.want(1, "z.jpg", url(1))
    assert ledger.given(2) is None
    assert ledger.given(3) == naming.collided("a.jpg", url(3))


def test_who_loses_patience_overtakes_only_those_before_it() -> None:
    ledger = NameLedger()
    ledger.enter(1, url(1), None)
    ledger.enter(2, url(2), "a.jpg")
    ledger.enter(3, url(3), None)
    ledger.enter(4, url(4), "b.jpg")
    ledger.overtake(2)
    assert ledger.given(2) == "a.jpg"
    assert ledger.given(4) is None


def test_who_overtakes_keeps_its_own_place() -> None:
    ledger = NameLedger()
    ledger.enter(1, url(1), None)
    ledger.enter(2, url(2), None)
    ledger.enter(3, url(3), "a.jpg")
    ledger.overtake(2)
    assert ledger.given(3) is None
    assert ledger.want(2, "a.jpg", url(2)) == "a.jpg"
    assert ledger.given(3) == naming.collided("a.jpg", url(3))


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_however_long_the_first_takes_only_so_many_ended_ones_wait_behind_it(known: bool) -> None:
    ledger = NameLedger()
    ledger.enter(0, url(0), None)
    most = 0
    for index in range(1, 5 * MOST_WAITING):
        ledger.enter(index, url(index), f"{index}.jpg" if known else None)
        ledger.drop(index)
        most = max(most, len(ledger._waiting))
    assert most <= MOST_WAITING + 1
    assert not ledger._given
    # Its place is lost, its name is not.
    assert ledger.want(0, "0.jpg", url(0)) == "0.jpg"
    assert ledger.want(5 * MOST_WAITING, "0.jpg", url(1)) == naming.collided("0.jpg", url(1))


class CountingSet(SeenSet):
    """Counts how often it is asked."""

    asked = 0

    def add(self, text: str) -> bool:
        self.asked += 1
        return super().add(text)


def test_the_same_name_for_one_url_a_thousand_times_is_not_tried_a_thousand_times() -> None:
    ledger = NameLedger()
    ledger._taken = taken = CountingSet()
    names = [ledger.claim("a.jpg", url(1)) for _ in range(1000)]
    assert names[:2] == ["a.jpg", naming.collided("a.jpg", url(1))]
    longer = naming.collided("a.jpg", url(1), digits=16)
    assert names[2:] == [longer, *(naming.numbered(longer, number) for number in range(2, 999))]
    assert taken.asked <= 4 * 1000
    assert ledger.claim("a.jpg", url(2)) == naming.collided("a.jpg", url(2))


def test_how_far_names_are_numbered_is_remembered_for_so_many_only() -> None:
    ledger = NameLedger()
    for _ in range(2):
        names = [ledger.claim("a.jpg", url(index)) for index in range(MOST_NUMBERED + 50) for _ in range(5)]
        assert len(set(names)) == len(names)
        assert len(ledger._numbered) == MOST_NUMBERED


def test_up_to_that_many_the_lists_order_counts() -> None:
    ledger = NameLedger()
    ledger.enter(0, url(0), None)
    for index in range(1, MOST_WAITING):
        ledger.enter(index, url(index), "a.jpg")
        ledger.drop(index)
    assert ledger.want(0, "a.jpg", url(0)) == "a.jpg"
    assert not ledger._waiting


def test_calls_for_items_nobody_knows_do_nothing() -> None:
    ledger = NameLedger()
    ledger.drop(7)
    ledger.yield_place(7)
    ledger.overtake(7)
    assert ledger.given(7) is None


@given(data=st.data(), known=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12))
def test_without_drops_the_names_are_those_of_the_lists_order(
    data: st.DataObject, known: list[tuple[str, bool]]
) -> None:
    reference, expected = NameLedger(), {}
    for index, (name, _) in enumerate(known):
        expected[index] = reference.claim(name, url(index))
    ledger, names = NameLedger(), dict[int, str]()
    unknown: list[int] = []
    for index, (name, early) in enumerate(known):
        settled = ledger.enter(index, url(index), name if early else None)
        if settled is not None:
            names[index] = settled
        if not early:
            unknown.append(index)
        now: bool = data.draw(st.booleans())
        if unknown and now:
            _respond(ledger, unknown.pop(data.draw(st.integers(0, len(unknown) - 1))), known, names)
    order: list[int] = data.draw(st.permutations(unknown))
    for index in order:
        _respond(ledger, index, known, names)
    for index in range(len(known)):
        if index not in names and (late := ledger.given(index)) is not None:
            names[index] = late
    assert names == expected


def _respond(ledger: NameLedger, index: int, known: list[tuple[str, bool]], names: dict[int, str]) -> None:
    settled = ledger.want(index, known[index][0], url(index))
    if settled is not None:
        names[index] = settled


@dataclass
class Entered:
    """An item the ledger has been told of."""

    known: bool
    name: str | None = None
    ended: bool = False


class Ledger(RuleBasedStateMachine):
    """Items enter, want, drop, yield and overtake in any order; nobody ever gets a name that was given."""

    @initialize()
    def begin(self) -> None:
        self.ledger = NameLedger(limit=3)
        self.items: dict[int, Entered] = {}
        self.keys: set[str] = set()

    def took(self, index: int, name: str | None) -> None:
        if name is not None:
            key = naming.key(name)
            assert key not in self.keys, f"{name} was given twice"
            self.keys.add(key)
            self.items[index].name = name

    def pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(index for index, item in self.items.items() if not item.ended)))

    @rule(name=st.none() | st.sampled_from(NAMES))
    def enter(self, name: str | None) -> None:
        index = len(self.items) + 1
        self.items[index] = Entered(name is not None)
        self.took(index, self.ledger.enter(index, url(index), name))

    @precondition(lambda self: any(not item.ended for item in self.items.values()))
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def want(self, data: st.DataObject, name: str) -> None:
        index = self.pick(data)
        if self.items[index].name is None:
            # What was settled meanwhile is taken first, as a transfer does.
            self.took(index, self.ledger.given(index))
        if self.items[index].name is None:
            self.took(index, self.ledger.want(index, name, url(index)))
            self.items[index].known = True

    @precondition(lambda self: any(not item.ended for item in self.items.values()))
    @rule(data=st.data())
    def lose_patience(self, data: st.DataObject) -> None:
        index = self.pick(data)
        if not self.items[index].known or self.items[index].name is not None:
            return
        self.took(index, self.ledger.given(index))
        if self.items[index].name is None:
            self.ledger.overtake(index)
            self.took(index, self.ledger.given(index))
            assert self.items[index].name is not None, "overtaking gives a name"

    @precondition(lambda self: any(not item.ended for item in self.items.values()))
    @rule(data=st.data(), way=st.sampled_from(["drop", "yield_place"]))
    def leave(self, data: st.DataObject, way: str) -> None:
        index = self.pick(data)
        getattr(self.ledger, way)(index)
        self.items[index].ended = way == "drop"

    def teardown(self) -> None:
        for index, item in self.items.items():
            if not item.ended and item.name is None:
                self.took(index, self.ledger.given(index))
        for index in self.items:
            self.ledger.drop(index)
        assert not self.ledger._waiting
        assert not self.ledger._given
        self.ledger.close()


TestLedger = Ledger.TestCase
