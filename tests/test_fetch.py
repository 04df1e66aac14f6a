"""The answer to a request for a range is written where it fits, and ignored with its reason where it does not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors
from downloader.bodies import GATHER, GATHER_CHUNKS, IGNORED, Enough
from downloader.fetch import Misfit, RangeFetch
from downloader.items import Address, Item, Running
from downloader.options import Options
from downloader.responses import Head
from downloader.resume import Ask
from downloader.segments import Piece, Segments
from downloader.verdict import Continue

MIB = 1024 * 1024
TOTAL = 10 * MIB
ASK = Ask(2 * MIB, 4 * MIB, TOTAL, '"v1"')
FITS = {"content_range": f"bytes {2 * MIB}-{4 * MIB - 1}/{TOTAL}", "content_length": str(2 * MIB), "etag": '"v1"'}
SHORTER = {"content_range": f"bytes {2 * MIB}-{3 * MIB - 1}/{TOTAL}", "content_length": str(MIB), "etag": '"v1"'}


def head(status: int = 206, /, **fields: Any) -> Head:
    return Head(status, "1.1", {name.replace("_", "-"): value for name, value in fields.items() if value is not None})


class Fetching:
    """A fetch of `ASK`, and what it hands on."""

    def __init__(self, *, enough_at: int | None = None, **options: Any) -> None:
        self.written: list[tuple[bytes, int, int]] = []
        self.running = Running(Item(Address("http://h/a.mp4")), started=0.0, name="a.mp4")
        self.fetch = RangeFetch(ASK, Options(**options), self.running, self._write)
        self._enough_at = enough_at

    def _write(self, chunks: list[bytes], size: int, end: int) -> None:
        self.written.append((b"".join(chunks), size, end))
        if self._enough_at is not None and sum(size for _, size, _ in self.written) >= self._enough_at:
            raise Enough

    @property
    def body(self) -> bytes:
        return b"".join(chunks for chunks, _, _ in self.written)


def piece(at: int, end: int) -> Piece:
    """That of `ASK`, written up to ``at`` and cut at ``end`` meanwhile."""
    segments = Segments(TOTAL, [(0, ASK.start), (end, TOTAL)])
    found = segments.take()
    assert found is not None
    segments.advance(found, at - ASK.start)
    return found


# Answers that fit


def test_what_fits_is_written_with_the_end_of_its_response() -> None:
    fetching = Fetching()
    assert fetching.fetch.begin(head(**FITS))
    assert fetching.fetch.answer == Continue(ASK.start, ASK.end, TOTAL)
    fetching.fetch.write(b"a" * GATHER)
    fetching.fetch.write(b"b" * 10)
    fetching.fetch.gatherer.flush()
    assert fetching.written == [(b"a" * GATHER, GATHER, ASK.end), (b"b" * 10, 10, ASK.end)]


def test_of_an_answer_with_less_than_was_asked_for_the_end_is_its_own() -> None:
    fetching = Fetching()
    assert fetching.fetch.begin(head(**SHORTER))
    fetching.fetch.write(b"a" * GATHER)
    assert [end for _, _, end in fetching.written] == [3 * MIB]


def test_the_time_of_its_head_is_known_from_then_on() -> None:
    fetching = Fetching()
    assert fetching.fetch.begun == 0.0
    before = time.monotonic()
    fetching.fetch.begin(head(**FITS))
    assert before <= fetching.fetch.begun <= time.monotonic()


def test_bytes_count_as_received_before_they_are_written() -> None:
    fetching = Fetching()
    fetching.running.received = 1000
    fetching.fetch.begin(head(**FITS))
    fetching.fetch.write(b"a" * 50)
    assert (fetching.written, fetching.running.received) == ([], 1050)


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda chunk: chunk * 1000) | st.binary(max_size=3)))
def test_whatever_the_chunks_are_the_body_is_written_in_order_and_in_large_pieces(chunks: list[bytes]) -> None:
    fetching = Fetching()
    fetching.fetch.begin(head(**FITS))
    for chunk in chunks:
        fetching.fetch.write(chunk)
    fetching.fetch.gatherer.flush()
    assert fetching.body == b"".join(chunks)
    assert fetching.running.received == len(fetching.body)
    assert all(size == len(chunk) > 0 for chunk, size, _ in fetching.written)
    assert all(size >= GATHER for _, size, _ in fetching.written[:-1]) or len(chunks) >= GATHER_CHUNKS


def test_who_writes_may_end_it_and_later_bytes_come_again_only_if_they_are_sent_again() -> None:
    fetching = Fetching(enough_at=GATHER)
    fetching.fetch.begin(head(**FITS))
    with pytest.raises(Enough):
        fetching.fetch.write(b"a" * GATHER)
    fetching.fetch.gatherer.flush()
    assert fetching.body == b"a" * GATHER


# Answers that do not


MISFITS = {
    "all of the file": (head(200, content_length=str(TOTAL), etag='"v1"'), "200"),
    "a redirect": (head(302, location="/b.mp4"), "302"),
    "no such range": (head(416, content_range=f"bytes */{TOTAL}"), "416"),
    "another range": (head(**{**FITS, "content_range": f"bytes 0-{2 * MIB - 1}/{TOTAL}"}), "asked for were"),
    "more than asked for": (
        head(content_range=f"bytes {2 * MIB}-{TOTAL - 1}/{TOTAL}", etag='"v1"'),
        "asked for were",
    ),
    "another length": (head(**{**FITS, "content_range": f"bytes {2 * MIB}-{4 * MIB - 1}/{TOTAL + 1}"}), "bytes now"),
    "no range": (head(etag='"v1"'), "no sense"),
    "several ranges": (head(**FITS, content_type="multipart/byteranges; boundary=x"), "no sense"),
    "another file": (head(**{**FITS, "etag": '"v2"'}), "ETag"),
    "no proof": (head(**{**FITS, "etag": None}), "ETag"),
    "encoded bytes": (head(**FITS, content_encoding="gzip"), "encoded"),
    # The file was there when it was asked for, so an address that it redirected to may have expired.
    "nothing": (head(204), "204"),
    "expired": (head(403), "403"),
    "moved away": (head(404), "404"),
    "gone": (head(410), "410"),
}


@pytest.mark.parametrize(("answer", "reason"), MISFITS.values(), ids=MISFITS)
def test_an_answer_that_does_not_fit_is_a_misfit_and_nothing_of_it_is_written(answer: Head, reason: str) -> None:
    fetching = Fetching()
    assert not fetching.fetch.begin(answer)
    fetching.fetch.write(b"a" * IGNORED)
    fetching.fetch.gatherer.flush()
    assert (fetching.written, fetching.running.received) == ([], 0)
    with pytest.raises(Misfit, match=reason) as caught:
        fetching.fetch.check(piece(ASK.start, ASK.end))
    assert (caught.value.kind, caught.value.retryable) == ("body", True)


@pytest.mark.parametrize(
    ("answer", "kind", "retryable", "retry_after"),
    [
        (head(503), "http", True, None),
        (head(500), "http", True, None),
        (head(429, retry_after="7"), "http", True, 7.0),
    ],
)
def test_a_refusal_that_may_pass_is_the_error_it_always_is(
    answer: Head, kind: str, retryable: bool, retry_after: float | None
) -> None:
    fetching = Fetching()
    assert not fetching.fetch.begin(answer)
    with pytest.raises(errors.StatusError) as caught:
        fetching.fetch.check(piece(ASK.start, ASK.end))
    error = caught.value
    assert not isinstance(error, Misfit)
    assert (error.kind, error.retryable, error.retry_after) == (kind, retryable, retry_after)
    assert error.status == answer.status


def test_a_short_body_of_an_answer_that_does_not_fit_is_read_and_a_long_one_costs_the_connection() -> None:
    fetching = Fetching()
    fetching.fetch.begin(head(404))
    for _ in range(IGNORED // 1024):
        fetching.fetch.write(b"x" * 1024)
    with pytest.raises(Enough):
        fetching.fetch.write(b"x")
    assert fetching.written == []


# How a response ended


def test_no_answer_at_all_is_an_error_of_the_server() -> None:
    with pytest.raises(errors.ProtocolError, match="no answer"):
        Fetching().fetch.check(piece(ASK.start, ASK.end))


@pytest.mark.parametrize(
    ("fields", "at", "end", "whole"),
    [
        (FITS, 4 * MIB, 4 * MIB, True),
        (FITS, 4 * MIB - 1, 4 * MIB, False),
        (FITS, 2 * MIB, 4 * MIB, False),
        # Cut by others meanwhile: what is left of it is there.
        (FITS, 3 * MIB, 3 * MIB, True),
        (FITS, 3 * MIB - 1, 3 * MIB, False),
        # The response promised less than was asked for, and brought that.
        (SHORTER, 3 * MIB, 4 * MIB, True),
        (SHORTER, 3 * MIB - 1, 4 * MIB, False),
    ],
)
def test_a_range_is_whole_where_all_arrived_that_was_promised_and_still_wanted(
    fields: dict[str, str], at: int, end: int, whole: bool
) -> None:
    fetching = Fetching()
    fetching.fetch.begin(head(**fields))
    if whole:
        fetching.fetch.check(piece(at, end))
        return
    with pytest.raises(errors.BodyError, match="cut short") as caught:
        fetching.fetch.check(piece(at, end))
    assert not isinstance(caught.value, Misfit), "others may go on"


def test_a_piece_given_up_meanwhile_is_nothing_to_complain_about() -> None:
    fetching = Fetching()
    fetching.fetch.begin(head(**FITS))
    segments = Segments(TOTAL, [(0, ASK.start)])
    released = segments.take()
    assert released is not None
    segments.release(released)
    fetching.fetch.check(released)
