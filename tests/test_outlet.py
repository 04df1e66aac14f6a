"""What is written to a standard stream arrives whole and in order, and a reader that sleeps holds up nobody else."""

from __future__ import annotations

import _thread
import errno
import io
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import wait_until

from downloader.outlet import PATIENCE, PIPE_BUF, ROOM, Outlet, _pieces, descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


@dataclass
class Pipe:
    """An outlet into a pipe, and the other end of it."""

    reader: int
    writer: int
    errors: list[OSError] = field(default_factory=list)

    def __post_init__(self) -> None:
        os.set_blocking(self.reader, False)
        self.outlet = Outlet(self.writer, self.errors.append)

    def read(self) -> bytes:
        """What lies in the pipe now."""
        found = b""
        with suppress(BlockingIOError):
            while data := os.read(self.reader, 65536):
                found += data
        return found

    def read_until(self, *waiting: gevent.Greenlet[..., None]) -> bytes:
        """All that comes until these greenlets are done."""
        found, deadline = b"", time.monotonic() + 60
        while not all(greenlet.dead for greenlet in waiting):
            assert time.monotonic() < deadline, "they hang though their pipe is read"
            found += self.read()
            gevent.sleep(0.001)
        return found + self.read()

    def drained(self) -> bytes:
        """All that comes until everything is written."""
        return self.read_until(gevent.spawn(self.outlet.drain))

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    pipe = Pipe(reader, writer)
    yield pipe
    if pipe.reader >= 0:
        pipe.close_reader()
    pipe.outlet.hurry(0.0)
    pipe.outlet.close()


def fill(pipe: Pipe) -> None:
    """Write far more than a pipe takes."""
    pipe.outlet.write(b"x" * 1_000_000)
    assert not pipe.outlet.ready


def switches(seconds: float) -> int:
    """How often another greenlet has had its turn in this time."""
    turns, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        gevent.sleep(0.01)
        turns += 1
    return turns


def test_what_is_written_arrives_as_it_is(pipe: Pipe) -> None:
    pipe.outlet.write(b"")
    pipe.outlet.write(b"one\n")
    pipe.outlet.write(b"")
    pipe.outlet.write("zwei ä\n".encode())
    assert pipe.drained() == "one\nzwei ä\n".encode()
    assert pipe.outlet.ready
    assert pipe.errors == []


def test_nobody_who_writes_into_a_pipe_that_nobody_reads_waits(pipe: Pipe) -> None:
    fill(pipe)
    assert switches(0.2) > 5, "the hub goes on"
    for number in range(1000):
        pipe.outlet.write(b"%d\n" % number)
    assert pipe.drained() == b"x" * 1_000_000 + b"".join(b"%d\n" % number for number in range(1000))
    assert pipe.outlet.ready
    assert pipe.errors == []


def test_a_pipe_that_others_fill_holds_up_nobody_either(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe.writer, b"y" * PIPE_BUF)
    os.set_blocking(pipe.writer, True)
    pipe.outlet.write(b"one\n")
    assert switches(0.2) > 5
    found = pipe.drained()
    assert found.rstrip(b"one\n").strip(b"y") == b""
    assert found.endswith(b"one\n")


def test_a_pipe_that_another_program_made_non_blocking_gets_everything(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    fill(pipe)
    assert switches(0.2) > 5
    assert pipe.drained() == b"x" * 1_000_000
    assert pipe.errors == []


def test_a_terminal_that_nobody_reads_holds_up_nobody() -> None:
    controller, terminal = os.openpty()
    threads = _thread._count()
    try:
        outlet = Outlet(terminal)
        for _ in range(2000):
            outlet.write(b"x" * 79 + b"\r\n")
        assert switches(0.3) > 5
        assert not outlet.ready
        outlet.hurry(0.2)
        outlet.drain()
        assert not outlet.ready
    finally:
        os.close(controller)
        wait_until(lambda: _thread._count() <= threads, "the end of its thread")
        os.close(terminal)


def test_who_has_more_to_say_waits_for_room(pipe: Pipe) -> None:
    fill(pipe)
    pipe.outlet.write(b"y" * ROOM)
    pipe.outlet.wait_for_room()  # there is some
    pipe.outlet.write(b"y")
    waiting = gevent.spawn(pipe.outlet.wait_for_room)
    gevent.sleep(PATIENCE * 1.5)
    assert not waiting.dead, "longer than an end has patience"
    found = pipe.read_until(waiting)
    assert found + pipe.drained() == b"x" * 1_000_000 + b"y" * (ROOM + 1)


def test_who_waits_for_room_can_be_killed_and_nothing_is_lost(pipe: Pipe) -> None:
    fill(pipe)
    pipe.outlet.write(b"y" * (ROOM + 1))
    waiting = gevent.spawn(pipe.outlet.wait_for_room)
    gevent.sleep(0.02)
    waiting.kill(timeout=20)
    assert pipe.drained() == b"x" * 1_000_000 + b"y" * (ROOM + 1)


@pytest.mark.parametrize("before", [True, False], ids=["hurried before", "hurried while waiting"])
def test_an_end_in_a_hurry_gives_up_on_a_reader_who_sleeps(pipe: Pipe, before: bool) -> None:
    if before:
        pipe.outlet.hurry()
    fill(pipe)
    waiting = [gevent.spawn(pipe.outlet.drain), gevent.spawn(pipe.outlet.wait_for_room)]
    gevent.sleep(0.1)
    pipe.outlet.hurry()
    gevent.joinall(waiting, timeout=PATIENCE + 20, raise_error=True)
    assert all(greenlet.successful() for greenlet in waiting)
    for _ in range(100):
        pipe.outlet.write(b"more\n")
        pipe.outlet.drain()
    assert not pipe.outlet.ready
    assert pipe.errors == [], "it is no failure of the stream"
    assert b"more" not in pipe.read()


def test_an_end_in_a_hurry_waits_for_a_reader_who_is_slow(pipe: Pipe) -> None:
    fill(pipe)
    pipe.outlet.hurry(0.5)
    draining = gevent.spawn(pipe.outlet.drain)
    found, pauses = b"", 0
    while not draining.dead:
        with suppress(BlockingIOError):
            found += os.read(pipe.reader, 60_000)
        gevent.sleep(0.1)
        pauses += 1
    assert found + pipe.read() == b"x" * 1_000_000
    assert pauses * 0.1 > 0.5, "longer than its patience in all"


@pytest.mark.parametrize("waiting", [True, False], ids=["while waiting", "before"])
def test_a_reader_who_leaves_is_told_of_once(pipe: Pipe, waiting: bool) -> None:
    if waiting:
        fill(pipe)
        gevent.sleep(0.05)
    pipe.close_reader()
    for _ in range(3):
        pipe.outlet.write(b"nobody reads this\n")
        pipe.outlet.drain()
    assert [error.errno for error in pipe.errors] == [errno.EPIPE]
    assert not pipe.outlet.ready


def test_whoever_hears_of_a_failure_may_write(pipe: Pipe) -> None:
    told: list[OSError] = []

    def failed(error: OSError) -> None:
        told.append(error)
        outlet.write(b"it failed\n")

    outlet = Outlet(pipe.writer, failed)
    pipe.close_reader()
    outlet.write(b"nobody reads this\n")
    with gevent.Timeout(30):
        outlet.drain()
    assert len(told) == 1


def test_a_device_that_is_full_is_told_of_once() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    errors: list[OSError] = []
    outlet = Outlet(os.open("/dev/full", os.O_WRONLY), errors.append)
    outlet.write(b"one\n")
    outlet.write(b"two\n")
    outlet.close()
    assert [error.errno for error in errors] == [errno.ENOSPC]


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "no file"])
def test_where_there_is_no_stream_nothing_is_written_and_nothing_fails(stream: TextIO | None) -> None:
    errors: list[OSError] = []
    outlet = Outlet(descriptor(stream), errors.append)
    outlet.write(b"one\n")
    outlet.hurry()
    outlet.write(b"two\n")
    outlet.drain()
    outlet.wait_for_room()
    outlet.close()
    assert not outlet.ready
    assert errors == []


@pytest.mark.parametrize("place", ["file", "null"])
def test_what_needs_no_reader_is_written_at_once_and_by_no_thread(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / "file") if place == "file" else os.devnull
    threads = threading.active_count()
    before = _thread._count()
    outlet = Outlet(os.open(path, os.O_WRONLY | os.O_CREAT))
    outlet.write(b"one\n" * 100_000)
    assert outlet.ready
    assert place == "null" or (tmp_path / "file").read_bytes() == b"one\n" * 100_000
    assert (_thread._count(), threading.active_count()) == (before, threads)
    outlet.close()
    outlet.close()


def test_a_closed_outlet_has_written_all_and_its_thread_ends(pipe: Pipe) -> None:
    before = _thread._count()
    outlet = Outlet(os.dup(pipe.writer))
    outlet.write(b"one\n" * 50_000)
    wait_until(lambda: _thread._count() > before, "its thread")
    assert pipe.read_until(gevent.spawn(outlet.close)) == b"one\n" * 50_000
    wait_until(lambda: _thread._count() <= before, "the end of its thread")


def test_a_descriptor_that_cannot_be_closed_is_a_failure(tmp_path: Path) -> None:
    errors: list[OSError] = []
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    outlet = Outlet(fd, errors.append)
    os.close(fd)
    outlet.close()
    assert [error.errno for error in errors] == [errno.EBADF]


@given(st.lists(st.integers(0, 3 * PIPE_BUF), max_size=20))
def test_pieces_end_where_lines_end(lengths: list[int]) -> None:
    lines = [b"x" * length + b"\n" for length in lengths]
    pieces = list(_pieces(bytearray(b"".join(lines)), PIPE_BUF))
    assert b"".join(pieces) == b"".join(lines)
    assert all(0 < len(piece) <= PIPE_BUF for piece in pieces)
    # A line that fits into a piece is in one piece.
    starts, at = set[int](), 0
    for piece in pieces:
        starts.add(at)
        at += len(piece)
    at = 0
    for line in lines:
        if len(line) <= PIPE_BUF:
            assert not any(at < start < at + len(line) for start in starts)
        at += len(line)


def test_lines_of_several_writers_come_whole_and_each_writers_in_order(pipe: Pipe) -> None:
    others = [Outlet(os.dup(pipe.writer)) for _ in range(5)]

    def write(number: int) -> None:
        for line in range(400):
            others[number].write(b"%d %d %s\n" % (number, line, b"x" * 700))
            others[number].wait_for_room()
        others[number].close()

    writers = [gevent.spawn(write, number) for number in range(5)]
    found: dict[int, list[int]] = {}
    for text in pipe.read_until(*writers).splitlines():
        number, line, filler = text.split()
        assert filler == b"x" * 700
        found.setdefault(int(number), []).append(int(line))
    assert found == {number: list(range(400)) for number in range(5)}
