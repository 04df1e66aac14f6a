"""What is written to a standard stream arrives whole and in order, and a reader that sleeps holds up nobody else."""

from __future__ import annotations

import errno
import io
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import gevent
import pytest

from downloader.outlet import PATIENCE, Outlet

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)


@dataclass
class Pipe:
    """An outlet into a pipe, and the other end of it."""

    reader: int
    stream: TextIO
    errors: list[OSError] = field(default_factory=list)

    def __post_init__(self) -> None:
        os.set_blocking(self.reader, False)
        self.outlet = Outlet(self.stream, self.errors.append)

    def read(self) -> bytes:
        """What lies in the pipe now."""
        found = b""
        with suppress(BlockingIOError):
            while data := os.read(self.reader, 65536):
                found += data
        return found

    def read_until(self, *writers: gevent.Greenlet[..., None]) -> bytes:
        """All that comes until the writers are done."""
        found, deadline = b"", time.monotonic() + 60
        while not all(writer.dead for writer in writers):
            assert time.monotonic() < deadline, "the writers hang though their pipe is read"
            found += self.read()
            gevent.sleep(0)
        return found + self.read()

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as stream:
        pipe = Pipe(reader, stream)
        yield pipe
        if pipe.reader >= 0:
            os.close(pipe.reader)


def full(pipe: Pipe) -> gevent.Greenlet[..., None]:
    """A greenlet that waits for the pipe's reader, with far more to write than a pipe takes."""
    writer = gevent.spawn(pipe.outlet.write, b"x" * 1_000_000)
    deadline = time.monotonic() + 30
    while pipe.outlet.ready():
        assert time.monotonic() < deadline
        gevent.sleep(0.01)
    return writer


def test_what_is_written_arrives_as_it_is(pipe: Pipe) -> None:
    assert pipe.outlet.ready()
    pipe.outlet.write(b"one\n")
    pipe.outlet.write(b"")
    pipe.outlet.write("zwei ä\n".encode())
    assert pipe.read() == "one\nzwei ä\n".encode()
    assert pipe.errors == []


def test_a_pipe_nobody_reads_holds_up_its_writer_and_nobody_else(pipe: Pipe) -> None:
    writer = full(pipe)
    before = time.monotonic()
    for _ in range(20):
        gevent.sleep(0.01)
    assert time.monotonic() - before < 20, "the hub goes on"
    assert not writer.dead
    assert not pipe.outlet.ready()
    assert pipe.read_until(writer) == b"x" * 1_000_000
    assert writer.successful()
    assert pipe.outlet.ready()
    assert pipe.errors == []


def test_a_writer_waits_longer_than_the_patience_of_an_end_where_there_is_no_hurry(pipe: Pipe) -> None:
    writer = full(pipe)
    gevent.sleep(PATIENCE * 1.5)
    assert not writer.dead
    assert pipe.read_until(writer) == b"x" * 1_000_000


@pytest.mark.parametrize("before", [True, False], ids=["hurried before", "hurried while waiting"])
def test_who_is_in_a_hurry_gives_up_on_a_reader_who_sleeps(pipe: Pipe, before: bool) -> None:
    if before:
        pipe.outlet.hurry()
    writer = full(pipe)
    pipe.outlet.hurry()
    writer.get(timeout=PATIENCE + 20)
    started = time.monotonic()
    for _ in range(100):
        pipe.outlet.write(b"more\n")
    assert time.monotonic() - started < 20, "only once is anybody waited for"
    assert not pipe.outlet.ready()
    assert pipe.errors == [], "it is no failure of the stream"
    assert b"more" not in pipe.read()


def test_who_is_in_a_hurry_still_writes_what_is_read(pipe: Pipe) -> None:
    pipe.outlet.hurry()
    writer = gevent.spawn(pipe.outlet.write, b"x" * 500_000)
    assert pipe.read_until(writer) == b"x" * 500_000


@pytest.mark.parametrize("waiting", [True, False], ids=["while waiting", "before"])
def test_a_reader_who_leaves_is_told_of_once(pipe: Pipe, waiting: bool) -> None:
    writer = full(pipe) if waiting else None
    pipe.close_reader()
    if writer is not None:
        writer.get(timeout=30)
    for _ in range(3):
        pipe.outlet.write(b"nobody reads this\n")
    assert [error.errno for error in pipe.errors] == [errno.EPIPE]
    assert not pipe.outlet.ready()
    pipe.stream.write("left over")
    pipe.stream.flush()  # Python's own flush at its exit does not fail once more


def test_whoever_hears_of_a_failure_may_write(pipe: Pipe) -> None:
    told: list[OSError] = []

    def failed(error: OSError) -> None:
        told.append(error)
        outlet.write(b"it failed\n")

    outlet = Outlet(pipe.stream, failed)
    pipe.close_reader()
    with gevent.Timeout(30):
        outlet.write(b"nobody reads this\n")
    assert len(told) == 1


def test_a_device_that_is_full_is_told_of_once() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    errors: list[OSError] = []
    with open("/dev/full", "w", encoding="utf-8") as stream:
        outlet = Outlet(stream, errors.append)
        outlet.write(b"one\n")
        outlet.write(b"two\n")
    assert [error.errno for error in errors] == [errno.ENOSPC]


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "no file"])
def test_where_there_is_no_stream_nothing_is_written_and_nothing_fails(stream: TextIO | None) -> None:
    errors: list[OSError] = []
    outlet = Outlet(stream, errors.append)
    outlet.write(b"one\n")
    outlet.hurry()
    outlet.write(b"two\n")
    assert not outlet.ready()
    assert errors == []


def test_lines_of_several_writers_come_whole_and_each_writers_in_order(pipe: Pipe) -> None:
    def write(number: int) -> None:
        for line in range(40):
            pipe.outlet.write(b"%d %d %s\n" % (number, line, b"x" * 7000))

    writers = [gevent.spawn(write, number) for number in range(5)]
    found: dict[int, list[int]] = {}
    for text in pipe.read_until(*writers).splitlines():
        number, line, filler = text.split()
        assert filler == b"x" * 7000
        found.setdefault(int(number), []).append(int(line))
    assert found == {number: list(range(40)) for number in range(5)}


def test_a_writer_that_is_killed_leaves_the_way_free_for_the_others(pipe: Pipe) -> None:
    first = full(pipe)
    second = gevent.spawn(pipe.outlet.write, b"the second's line\n")
    gevent.sleep(0.02)
    first.kill(timeout=20)
    assert pipe.read_until(second).endswith(b"the second's line\n")
    assert second.successful()
