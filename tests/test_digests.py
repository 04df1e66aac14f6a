"""Digests are those of the whole file, in whatever order its bytes came."""

from __future__ import annotations

import hashlib
import os
from itertools import pairwise
from typing import TYPE_CHECKING

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.digests import READ, Digests, digests_of
from downloader.folders import Folders
from downloader.items import Address, Checksum, Item
from downloader.options import Options
from downloader.partfile import Part
from downloader.resume import State
from downloader.takeover import open_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from downloader.options import Algorithm

ALGORITHMS: tuple[Algorithm, ...] = ("sha256", "md5", "sha1", "sha512")
BODY = os.urandom(100_000)


def expected(body: bytes, algorithms: tuple[Algorithm, ...] = ALGORITHMS) -> tuple[Checksum, ...]:
    return tuple(Checksum(algorithm, hashlib.new(algorithm, body).hexdigest()) for algorithm in algorithms)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = open_part(Folders(str(tmp_path)), "a", warn=pytest.fail)
    assert isinstance(part, Part)
    part.begin(State("https://h/a"))
    yield part
    part.discard()


def test_bytes_that_pass_in_order_need_no_file() -> None:
    digests = Digests(ALGORITHMS)
    digests.update(0, [BODY[:10], b"", BODY[10:500]])
    digests.update(500, [BODY[500:]])
    assert digests.finish(None, len(BODY)) == expected(BODY)


def test_the_digests_of_an_empty_file_are_known_too() -> None:
    assert Digests(ALGORITHMS).finish(None, 0) == expected(b"")


def test_what_has_not_passed_in_order_is_read_from_the_part(part: Part) -> None:
    part.write([BODY], 0)
    digests = Digests(ALGORITHMS)
    digests.update(0, [BODY[:1000]])
    digests.update(50_000, [BODY[50_000:60_000]])
    digests.update(500, [BODY[500:2000]])
    assert digests.finish(part, len(BODY)) == expected(BODY)


def test_a_part_of_more_than_one_reading_is_hashed_whole(part: Part) -> None:
    body = BODY * (3 * READ // len(BODY))
    part.write([body], 0)
    assert Digests(["sha256"]).finish(part, len(body)) == expected(body, ("sha256",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(edges=st.lists(st.integers(0, 3000), max_size=8), order=st.randoms(use_true_random=False))
def test_the_order_of_pieces_does_not_matter(part: Part, edges: list[int], order: Random) -> None:
    body = BODY[:3000]
    bounds = sorted({0, *edges, 3000})
    pieces = list(pairwise(bounds))
    order.shuffle(pieces)
    part.begin(State("https://h/a"))
    digests = Digests(ALGORITHMS)
    for start, end in pieces:
        part.write([body[start:end]], start)
        digests.update(start, [body[start:end]])
    assert digests.finish(part, len(body)) == expected(body)


@pytest.mark.parametrize("passed", [0, 1000])
def test_a_file_of_another_length_has_no_digests(part: Part, passed: int) -> None:
    part.write([BODY], 0)
    for total in (len(BODY) - 1, len(BODY) + 1):
        digests = Digests(["md5"])
        digests.update(0, [BODY[:passed]])
        with pytest.raises(ValueError, match="were hashed"):
            digests.finish(part, total)
    with pytest.raises(ValueError, match="0 bytes were hashed"):
        Digests(["md5"]).finish(None, 5)


def test_hashing_goes_on_by_itself_and_ends_when_its_greenlet_does(part: Part) -> None:
    body = BODY * (8 * READ // len(BODY))
    part.write([body], 0)
    turns = 0
    hashing = gevent.spawn(Digests(ALGORITHMS).finish, part, len(body))
    while not hashing.ready():
        turns += 1
        gevent.sleep(0.001)  # a loop that never sleeps keeps the hub from hearing of its threads
    assert turns > 1, "others had their turn meanwhile"
    assert hashing.get() == expected(body)
    killed = gevent.spawn(Digests(ALGORITHMS).finish, part, len(body))
    gevent.sleep(0)
    killed.kill()
    assert killed.dead
    assert part.read(0, 9) == body[:9], "the part is as it was"


@pytest.mark.parametrize(
    ("option", "promised", "algorithms"),
    [
        (None, None, None),
        ("sha1", None, ["sha1"]),
        (None, "md5", ["md5"]),
        ("sha256", "md5", ["sha256", "md5"]),
        ("md5", "md5", ["md5"]),
    ],
)
def test_the_digest_of_the_option_comes_first_and_none_is_computed_twice(
    option: Algorithm | None, promised: Algorithm | None, algorithms: list[Algorithm] | None
) -> None:
    item = Item(Address("https://h/a"), checksum=None if promised is None else Checksum(promised, "0" * 32))
    digests = digests_of(item, Options(checksum_algorithm=option))
    if algorithms is None:
        assert digests is None
        return
    assert digests is not None
    assert [digest.algorithm for digest in digests.finish(None, 0)] == algorithms
