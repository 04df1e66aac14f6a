"""Whether a body is whole where its framing cannot prove it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from support import samples

from downloader.blocks import Ending
from downloader.doubt import doubt, replaces, settles
from downloader.framing import Framing, framing
from downloader.responses import Head

ASKED_AGAIN = {
    (Framing.SURPLUS, Ending.MISSING),
    (Framing.CLOSED, Ending.MISSING),
    (Framing.UNSURE, Ending.MISSING),
    (Framing.UNSURE, Ending.UNKNOWN),
}


@pytest.mark.parametrize(("told", "own"), list(product(Framing, Ending)))
def test_a_body_is_doubted_where_neither_its_framing_nor_its_format_shows_its_end(told: Framing, own: Ending) -> None:
    reason = doubt(told, own)
    assert (reason is not None) is ((told, own) in ASKED_AGAIN)
    assert reason is None or ("own end is missing" in reason) is (own is Ending.MISSING)


def test_the_same_bytes_again_prove_only_what_ends_with_its_connection() -> None:
    assert [told for told in Framing if settles(told)] == [Framing.CLOSED]


SOUND, PICTURE = samples.mp3(5), samples.picture(1, 3000)[:2048]


@pytest.mark.parametrize(
    ("first", "second", "longer", "proven", "expected"),
    [
        (SOUND, SOUND, True, True, True),
        (SOUND, SOUND, True, False, True),
        (SOUND, SOUND, False, True, True),
        (SOUND, SOUND, False, False, False),
        (SOUND[:3], SOUND, True, True, True),  # too little of it to be recognised
        (b"", SOUND, True, True, True),
        (SOUND, PICTURE, True, True, False),
        (SOUND, PICTURE, False, True, False),
        (SOUND, b"", False, True, False),
        (PICTURE, PICTURE[:-1] + b"x", False, True, True),
        (PICTURE, PICTURE[:-1] + b"x", False, False, False),
        (PICTURE, PICTURE[:-1] + b"x", True, False, True),
    ],
)
def test_which_of_two_bodies_counts(first: bytes, second: bytes, *, longer: bool, proven: bool, expected: bool) -> None:
    told = [Framing.PROVEN] if proven else [each for each in Framing if each is not Framing.PROVEN]
    for each in told:
        assert replaces(first, 90_000, second, 95_000 if longer else 85_000, each) is expected
        if longer:
            assert replaces(first, 90_000, second, 90_000, each) is expected


@pytest.mark.parametrize("surplus", [False, True])
@pytest.mark.parametrize(
    ("version", "fields", "expected"),
    [
        ("1.1", {"content-length": "5"}, Framing.PROVEN),
        ("1.0", {"content-length": "5"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "chunked"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "gzip, Chunked"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "chunked", "content-length": "5"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "chunked, identity"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "identity", "content-length": "5"}, Framing.PROVEN),
        ("1.1", {"transfer-encoding": "identity"}, Framing.CLOSED),
        ("1.1", {}, Framing.CLOSED),
        ("1.0", {}, Framing.CLOSED),
        ("2", {"content-length": "5"}, Framing.PROVEN),
        ("3", {"content-length": "0"}, Framing.PROVEN),
        ("2", {}, Framing.UNSURE),
        ("3", {}, Framing.UNSURE),
    ],
)
def test_what_told_the_end_of_a_body(version: str, fields: dict[str, Any], expected: Framing, *, surplus: bool) -> None:
    found = framing(Head(200, version, fields), surplus=surplus)
    by_length = version.startswith("1") and expected is Framing.PROVEN and "chunked" not in str(fields).lower()
    assert found is (Framing.SURPLUS if surplus and by_length else expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content-length": "5"}, Framing.CLOSED),
        ({"transfer-encoding": "chunked"}, Framing.PROVEN),
        ({}, Framing.CLOSED),
    ],
)
def test_a_length_proves_no_more_than_a_close_where_nobody_knows_of_surplus(
    fields: dict[str, str], expected: Framing
) -> None:
    assert framing(Head(200, "1.1", fields), surplus=None) is expected
