"""Standard input and pipes are read as they come, and never hold up the hub."""

from __future__ import annotations

import os
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast

import gevent
import pytest
from support.processes import wait_until

from downloader.streams import _chunks, stream_chunks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
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


def reading(fd: int) -> Generator[bytes | None, None, None]:
    return cast("Generator[bytes | None, None, None]", _chunks(fd))


def test_what_is_there_comes_first_and_none_says_that_no_more_is() -> None:
    with pipe() as (source, sink), closing(reading(source)) as chunks:
        os.write(sink, b"one\n")
        assert next(chunks) == b"one\n"
        assert next(chunks) is None
        os.write(sink, b"two\n")
        assert next(chunks) == b"two\n"
        os.close(sink)
        rest = list(chunks)
        assert [chunk for chunk in rest if chunk] == []


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
        assert [chunk for chunk in reading(source) if chunk] == []
        assert ticks == 5
        ticker.join()


def test_a_large_pipe_comes_in_bounded_pieces() -> None:
    body = os.urandom(1 << 20)
    with pipe() as (source, sink):

        def write() -> None:
            with os.fdopen(os.dup(sink), "wb") as file:
                file.write(body)

        writer = threading.Thread(target=write)
        writer.start()
        got, largest = b"", 0
        for chunk in reading(source):
            if chunk:
                got += chunk
                largest = max(largest, len(chunk))
            if len(got) == len(body):
                break
        writer.join(30)
    assert got == body
    assert largest <= 128 << 10


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_a_regular_file_comes_whole_and_without_pauses(tmp_path: Path, size: int) -> None:
    file = tmp_path / "list"
    file.write_bytes(os.urandom(size))
    with file.open("rb") as opened:
        chunks = list(reading(opened.fileno()))
    assert None not in chunks
    assert b"".join(chunk for chunk in chunks if chunk) == file.read_bytes()


def test_the_null_device_is_empty() -> None:
    assert [chunk for chunk in stream_chunks(os.devnull) if chunk] == []


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
    assert b"".join(chunk for chunk in stream_chunks(str(path)) if chunk) == b"one\ntwo\n"
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
        chunks = stream_chunks(str(path))
        assert next(chunks) == b"one\n"
        assert next(chunks) is None
        chunks.close()  # type: ignore[attr-defined]
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) != keeper]
        assert str(path) not in links
    finally:
        os.close(keeper)


def test_a_reader_that_waits_can_be_killed() -> None:
    with pipe() as (source, sink):
        reader = gevent.spawn(list, reading(source))
        gevent.sleep(0.05)
        assert not reader.ready()
        reader.kill(timeout=10)
        assert reader.ready()
        os.write(sink, b"x")
        assert os.read(source, 1) == b"x", "nobody else reads it any more"


def test_a_pipe_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(iter(stream_chunks(str(tmp_path / "nowhere"))))
