"""Content codings undone: complete or refused, in bounded pieces, however the bytes were cut."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.encodings import LARGEST, Decoder
from downloader.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = bytes(range(256)) * 40


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "GZIP": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    " deflate ": bare_deflate(BODY),
    "gzip, identity": gzip.compress(BODY),
    "gzip, aws-chunked": gzip.compress(BODY),
    "UTF-8,deflate": zlib.compress(BODY),
    ", gzip ,,": gzip.compress(BODY),
    "gzip;q=1.0": gzip.compress(BODY),
    '"gzip"': gzip.compress(BODY),
    "gzip gzip": gzip.compress(BODY),
    "gzip\x0b": gzip.compress(BODY),
    "'deflate'": zlib.compress(BODY),
    # Not encoded, whatever else it says.
    "identity": BODY,
    "": BODY,
    "aws-chunked": BODY,
    "none": BODY,
    "UTF-8": BODY,
    "binary, 8bit": BODY,
    "x" * 1000: BODY,
}


def undone(encoding: str, *pieces: bytes) -> tuple[bytes, bool]:
    decoder = Decoder(encoding)
    data = b"".join(piece for each in pieces for piece in decoder.decode(each))
    return data, decoder.ended


@pytest.mark.parametrize("encoding", PACKED)
def test_what_was_encoded_comes_out_again(encoding: str) -> None:
    assert undone(encoding, PACKED[encoding]) == (BODY, True)


@given(st.binary(max_size=5000), st.integers(1, 700), st.sampled_from(["gzip", "deflate", "bare"]))
def test_it_does_not_matter_how_the_bytes_were_cut(body: bytes, size: int, coding: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "bare": bare_deflate}
    packed = pack[coding](body)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert undone("gzip" if coding == "gzip" else "deflate", *pieces) == (body, True)


@pytest.mark.parametrize("encoding", [encoding for encoding in PACKED if PACKED[encoding] != BODY])
@given(data=st.data())
def test_what_breaks_off_has_not_ended(encoding: str, data: st.DataObject) -> None:
    packed = PACKED[encoding]
    assert not undone(encoding, packed[: data.draw(st.integers(0, len(packed) - 1))])[1]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_several_gzip_members_are_one_file(parts: list[bytes]) -> None:
    assert undone("gzip", b"".join(map(gzip.compress, parts))) == (b"".join(parts), True)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", BODY),
        ("gzip", gzip.compress(BODY) + b"surplus"),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
        ("deflate", zlib.compress(BODY) + b"surplus"),
        ("deflate", zlib.compress(BODY)[:-4] + b"\0" * 4),
    ],
)
def test_broken_data_is_an_error_that_may_pass(encoding: str, data: bytes) -> None:
    with pytest.raises(BodyError) as caught:
        undone(encoding, data)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "encoding",
    [
        "br",
        "zstd",
        "compress",
        "x-compress",
        "dcb",
        "gzip, br",
        "gzip, deflate",
        "deflate, deflate",
        "gzip, " * 3,
        "aws-chunked, br",
        "br, " * 300,
    ],
)
def test_an_encoding_that_nobody_asked_for_and_gdl_does_not_know_is_named(encoding: str) -> None:
    with pytest.raises(BodyError, match="encoded as") as caught:
        Decoder(encoding)
    assert not caught.value.retryable
    assert len(str(caught.value)) < 120


@given(st.binary(max_size=3000), st.integers(1, 700), st.integers(0, 2), st.booleans())
def test_gzip_that_is_named_twice_is_undone_as_often_as_it_was_applied(
    body: bytes, size: int, begins: int, twice: bool
) -> None:
    body = b"\x1f\x8b"[:begins] + b"\0" + body  # never what gzip begins with, but nearly
    packed = gzip.compress(gzip.compress(body) if twice else body)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert undone("gzip, x-gzip", *pieces) == (body, True)
    assert undone("gzip, gzip", *pieces[:-1])[1] is False


@pytest.mark.parametrize("body", [b"", b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08", b"a"])
def test_a_short_body_under_gzip_that_is_named_twice_ends_where_no_more_can_be_meant(body: bytes) -> None:
    data, ended = undone("gzip, gzip", gzip.compress(body))
    assert (data, ended) == ((b"", False) if body.startswith(b"\x1f") else (body, True))


def test_a_bomb_within_another_is_refused() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * (100 * LARGEST), compresslevel=9), compresslevel=9)
    with pytest.raises(BodyError, match="beyond measure"):
        undone("gzip, gzip", bomb)


def test_a_bomb_comes_in_bounded_pieces() -> None:
    bomb = gzip.compress(b"\0" * (20 * LARGEST), compresslevel=9)
    pieces = [len(piece) for piece in Decoder("gzip").decode(bomb)]
    assert sum(pieces) == 20 * LARGEST
    assert max(pieces) <= LARGEST


def test_a_bomb_is_refused_before_it_fills_the_disk() -> None:
    with pytest.raises(BodyError, match="beyond measure") as caught:
        undone("gzip", gzip.compress(b"\0" * (100 * LARGEST), compresslevel=9))
    assert not caught.value.retryable
