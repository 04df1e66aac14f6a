"""Standard input and pipes are read as they come, and never hold up the hub."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import gevent
import pytest
from support.processes import wait_until

from downloader import sources
from downloader.streams import CHUNK, chunks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, closed at the end if they still are open."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            try:
                os.close(fd)
            except OSError:
                continue


def test_what_is_there_comes_first_and_none_says_that_no_more_is() -> None:
    with pipe() as (source, sink), closing(chunks(source)) as given:
        os.write(sink, b"one\n")
        assert next(given) == b"one\n"
        assert next(given) is None
        os.write(sink, b"two\n")
        assert next(given) == b"two\n"
        os.close(sink)
        rest = list(given)
        assert [chunk for chunk in rest if chunk] == []


def test_a_descriptor_may_have_any_number() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 3000:
        pytest.skip("no such descriptor can be had")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 3000), before[1]))
    try:
        with pipe() as (source, sink):
            high = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 2000)
            try:
                os.write(sink, b"one\n")
                given = chunks(high)
                assert next(given) == b"one\n"
                assert next(given) is None
                os.close(sink)
                assert [chunk for chunk in given if chunk] == []
            finally:
                os.close(high)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_other_greenlets_run_while_a_pipe_is_silent() -> None:
    with pipe() as (source, sink):
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            while ticks < 5:
                gevent.sleep(0.01)
                ticks += 1
            os.close(sink)

        ticker = gevent.spawn(tick)
        assert [chunk for chunk in chunks(source) if chunk] == []
        assert ticks == 5
        ticker.join()


@contextmanager
def counted_turns() -> Iterator[list[int]]:
    """Count in the list's one element how often another greenlet has its turn meanwhile."""
    turns = [0]

    def turn() -> None:
        while True:
            gevent.sleep(0)
            turns[0] += 1

    other = gevent.spawn(turn)
    yield turns
    other.kill()


def test_others_have_their_turn_after_each_chunk_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"x" * 50 * CHUNK)
    with counted_turns() as turns:
        assert len(list(chunks(str(path)))) == 50
        assert turns[0] >= 50


@pytest.mark.parametrize("text", [b"\n", b"\r\n", b"# a comment\n", b"\0", b" a=b\n"])
def test_others_have_their_turn_while_no_line_comes(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"https://h.example/a\n" + (text * CHUNK)[: 50 * CHUNK])
    with counted_turns() as turns:
        (first, *_) = sources.read([str(path)], chunks=chunks)
        assert first.line == 1
        assert turns[0] >= path.stat().st_size // CHUNK


def test_others_have_their_turn_while_a_device_gives_without_end() -> None:
    with counted_turns() as turns, closing(chunks("/dev/zero")) as given:
        for _ in range(50):
            assert next(given) == b"\0" * CHUNK
        assert turns[0] >= 49


def test_others_have_their_turn_while_a_list_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"https://h.example/a\n" * 50_000)
    with counted_turns() as turns:
        assert sources.count(str(path), chunks=chunks) == 50_000
        assert turns[0] >= 1_000_000 // CHUNK


def test_a_large_pipe_comes_in_bounded_pieces() -> None:
    body = os.urandom(1 << 20)
    with pipe() as (source, sink):

        def write() -> None:
            with os.fdopen(os.dup(sink), "wb") as file:
                file.write(body)

        writer = threading.Thread(target=write)
        writer.start()
        got, largest = b"", 0
        for chunk in chunks(source):
            if chunk:
                got += chunk
                largest = max(largest, len(chunk))
            if len(got) == len(body):
                break
        writer.join(30)
    assert got == body
    assert largest <= CHUNK


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_a_regular_file_comes_whole_and_without_pauses(tmp_path: Path, size: int) -> None:
    file = tmp_path / "list"
    file.write_bytes(os.urandom(size))
    with file.open("rb") as opened:
        given = list(chunks(opened.fileno()))
    assert None not in given
    assert b"".join(chunk for chunk in given if chunk) == file.read_bytes()


def test_the_null_device_is_empty() -> None:
    assert [chunk for chunk in chunks(os.devnull) if chunk] == []


def test_a_named_pipe_is_waited_for_and_closed_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    before = len(os.listdir("/proc/self/fd"))

    def write() -> None:
        with path.open("wb") as file:
            file.write(b"one\n")
            file.flush()
            file.write(b"two\n")

    def start() -> None:
        threading.Thread(target=write).start()

    starter = gevent.spawn_later(0.05, start)
    assert b"".join(chunk for chunk in chunks(str(path)) if chunk) == b"one\ntwo\n"
    starter.join()
    # The hub's threads keep descriptors of their own.
    wait_until(
        lambda: not any(os.path.realpath(f"/proc/self/fd/{fd}") == str(path) for fd in os.listdir("/proc/self/fd")),
        "its end",
    )
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_pipe_that_is_given_up_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)
    try:
        os.write(keeper, b"one\n")
        given = chunks(str(path))
        assert next(given) == b"one\n"
        assert next(given) is None
        given.close()
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) != keeper]
        assert str(path) not in links
    finally:
        os.close(keeper)


def test_a_reader_that_waits_can_be_killed() -> None:
    with pipe() as (source, sink):
        reader = gevent.spawn(list, chunks(source))
        gevent.sleep(0.05)
        assert not reader.ready()
        reader.kill(timeout=10)
        assert reader.ready()
        os.write(sink, b"x")
        assert os.read(source, 1) == b"x", "nobody else reads it any more"


def test_a_pipe_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(iter(chunks(str(tmp_path / "nowhere"))))
