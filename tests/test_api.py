"""The library: `download` from plain Python, from threads, and from a program that gevent has patched."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support.cli import environment
from support.samples import picture

import downloader
from downloader import Options, Result, UsageError, download, files
from downloader.engine import window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = picture(1, 9_000)


def serve(faults: f.FaultServer, count: int) -> list[str]:
    return [faults.route(f"/{number}.jpg", f.ok(BODY)) for number in range(count)]


def test_every_url_gives_one_result_and_its_file(faults: f.FaultServer, tmp_path: Path) -> None:
    urls = serve(faults, 30)
    results = list(download(urls, output=str(tmp_path)))
    assert sorted(result.url or "" for result in results) == sorted(urls)
    assert {result.status for result in results} == {"saved"}
    assert all((tmp_path / f"{number}.jpg").read_bytes() == BODY for number in range(30))


def test_mappings_and_failures_are_results_too(faults: f.FaultServer, tmp_path: Path) -> None:
    good, gone = faults.route("/a.jpg", f.ok(BODY)), faults.route("/b.jpg", f.status(404))
    wanted: list[str | dict[str, object]] = [{"url": good, "name": "n.jpg", "id": 7}, gone, "no url"]
    results = {result.url: result for result in download(wanted, output=str(tmp_path))}
    assert (results[good].status, results[good].path, results[good].extra) == (
        "saved",
        str(tmp_path / "n.jpg"),
        {"id": 7},
    )
    assert (results[gone].status, results[gone].http_status) == ("failed", 404)
    error = results[None].error
    assert error is not None
    assert error.kind == "input"


def test_nothing_is_read_or_asked_before_the_first_next(faults: f.FaultServer, tmp_path: Path) -> None:
    read: list[str] = []

    def urls() -> Iterator[str]:
        for url in serve(faults, 3):
            read.append(url)
            yield url

    results = download(urls(), output=str(tmp_path))
    time.sleep(0.1)
    assert not read
    assert not faults.requests
    assert len(list(results)) == 3


def test_an_endless_iterable_is_read_only_so_far_ahead(faults: f.FaultServer, tmp_path: Path) -> None:
    faults.otherwise(f.ok(BODY))
    base = faults.url("/")
    read = 0

    def urls() -> Iterator[str]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield f"{base}{number}.jpg"

    options = Options(output=str(tmp_path), jobs=4)
    taken = list(itertools.islice(download(urls(), options=options), 20))
    assert len(taken) == 20
    assert read <= 20 + 2 * window(options)


def test_the_iterable_is_read_in_the_callers_thread(faults: f.FaultServer, tmp_path: Path) -> None:
    threads = set()

    def urls() -> Iterator[str]:
        for url in serve(faults, 5):
            threads.add(threading.get_ident())
            yield url

    assert len(list(download(urls(), output=str(tmp_path)))) == 5
    assert threads == {threading.get_ident()}


def test_leaving_early_interrupts_what_runs_and_leaves_no_thread(faults: f.FaultServer, tmp_path: Path) -> None:
    quick = faults.route("/quick.jpg", f.ok(BODY))
    slow = [faults.route(f"/{n}.jpg", f.stalled(BODY, 100)) for n in range(5)]
    started = time.monotonic()
    for result in download([quick, *slow], output=str(tmp_path)):
        assert result.status == "saved"
        break
    assert time.monotonic() - started < 15
    assert not [thread for thread in threading.enumerate() if thread.name == "gdl"]
    assert [path.name for path in tmp_path.iterdir()] == ["quick.jpg"]


def test_the_iterables_own_error_comes_out_of_next(faults: f.FaultServer, tmp_path: Path) -> None:
    class OwnError(Exception):
        pass

    def urls() -> Iterator[str]:
        yield from serve(faults, 2)
        raise OwnError

    with pytest.raises(OwnError):
        list(download(urls(), output=str(tmp_path)))
    assert not [thread for thread in threading.enumerate() if thread.name == "gdl"]


def test_a_setting_that_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="--jobs"):
        download([], jobs=0)


def test_settings_change_the_options_given(faults: f.FaultServer, tmp_path: Path) -> None:
    options = Options(output="elsewhere", jobs=2)
    assert len(list(download(serve(faults, 3), options=options, output=str(tmp_path)))) == 3
    assert len(list(tmp_path.iterdir())) == 3
    assert options.output == "elsewhere"


def test_several_downloads_go_on_at_once_in_threads(faults: f.FaultServer, tmp_path: Path) -> None:
    urls = serve(faults, 20)
    found: dict[int, list[Result]] = {}

    def work(number: int) -> None:
        found[number] = list(download(urls, output=str(tmp_path / str(number))))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [len(found[number]) for number in range(3)] == [20, 20, 20]


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, threading, gevent
from downloader import download
urls = sys.argv[2:]
beats = 0
def beat():
    global beats
    while True:
        beats += 1
        gevent.sleep(0.001)
other = gevent.spawn(beat)
results = list(download(urls, output=sys.argv[1]))
assert {r.status for r in results} == {"saved"}, results
assert len(results) == len(urls)
assert beats > 1, "the program's own greenlets go on"
for result in download(urls, output=sys.argv[1], existing="rename"):
    break
print("fine")
"""


def test_a_program_that_gevent_has_patched_can_use_it(faults: f.FaultServer, tmp_path: Path) -> None:
    urls = serve(faults, 40)
    done = subprocess.run(
        [sys.executable, "-c", PATCHED, str(tmp_path / "out"), *urls],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


PARTLY_PATCHED = """
import sys
from gevent import monkey
monkey.patch_all({patch})
from downloader import download
results = list(download(sys.argv[2:], output=sys.argv[1]))
assert {{r.status for r in results}} == {{"saved"}}, results
assert len(results) == len(sys.argv[2:])
for result in download(sys.argv[2:], output=sys.argv[1], existing="rename"):
    break
print("fine")
"""


@pytest.mark.parametrize("patch", ["thread=False", "queue=False", "socket=False", "select=False, time=False"])
def test_so_can_a_program_that_is_patched_in_part(faults: f.FaultServer, tmp_path: Path, patch: str) -> None:
    urls = serve(faults, 20)
    done = subprocess.run(
        [sys.executable, "-c", PARTLY_PATCHED.format(patch=patch), str(tmp_path / "out"), *urls],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment(tmp_path), "PYTHONWARNINGS": "default"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_when_nothing_can_be_written_any_more_every_url_has_its_result(
    faults: f.FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.otherwise(f.ok(BODY))
    # What a full disk does, without one: a folder that is not there counts as one.
    monkeypatch.setattr(files, "_FATAL", files._FATAL | {errno.ENOENT, errno.ENOTDIR})
    (tmp_path / "file").write_bytes(b"")
    urls = [faults.url(f"/{number}.jpg") for number in range(1500)]
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        for url in urls:
            read += 1
            yield url

    results = list(download(source(), output=str(tmp_path / "file" / "out"), jobs=4))
    assert sorted(result.url or "" for result in results) == sorted(urls)
    assert read == len(urls)
    assert {result.status for result in results} == {"failed"}
    found = {result.error.kind for result in results if result.error is not None}
    assert found <= {"disk", "interrupted"}
    assert "disk" in found
    assert len(faults.requests) <= 10, "nothing is asked for that cannot be kept"


def test_an_item_made_of_something_else_is_an_error_and_no_hang(tmp_path: Path) -> None:
    program = """
import sys
from downloader import Item, download
try:
    print([result.status for result in download([Item("http://127.0.0.1:9/a.jpg")], output=sys.argv[1])])
except (AttributeError, TypeError, ValueError):
    print(["failed"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=20,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.stdout, done.stderr) == ("['failed']\n", "")


def test_what_is_exported_is_there() -> None:
    assert all(hasattr(downloader, name) for name in downloader.__all__)
