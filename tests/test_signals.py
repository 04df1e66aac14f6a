"""Runs that are stopped, and runs nobody watches: Ctrl-C, SIGTERM, cron, full disks, closed pipes, failed lists."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import REPOSITORY, RunningGdl, command, environment, start_gdl
from support.failing import Fault, read_calls
from support.processes import find_program, wait_until
from support.terminal import TerminalGdl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certs import Authority
    from support.cli import Completed, RunGdl
    from support.failing import Failing

BODY = samples.picture(1, 20_000)
LARGE = samples.picture(2, 3_000_000)
OK = f.ok(BODY)
SOON = 5.0
"""Seconds in which a stopped run must be over, on a busy machine too."""
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a file system (Linux)"
)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def finished(folder: Path) -> set[str]:
    """The files that are under their final names; a run that was killed leaves parts and the lock file to the next."""
    return {name for name in files(folder) if not name.endswith((".part", ".part.json")) and name != ".gdl.lock"}


def kinds(done: Completed) -> dict[str, str | None]:
    """The kind of error of each URL, None where there is none, by the last part of its path."""
    found = {result["url"].rpartition("/")[2]: (result["error"] or {}).get("kind") for result in done.results}
    assert len(found) == len(done.results)
    return found


def spread(urls: list[str]) -> list[str]:
    """The same URLs at several hosts: to one that has not answered yet there are only a few requests at once."""
    return [url.replace("127.0.0.1", f"h{number % 10}.localhost") for number, url in enumerate(urls)]


def slow_fifty(server: f.FaultServer) -> list[str]:
    """Fifty URLs: ten good pictures, ten small and thirty large ones that stop half-way."""
    urls = [server.route(f"/good-{number}.jpg", f.ok(samples.picture(number, 9000))) for number in range(10)]
    urls += [server.route(f"/small-{number}.jpg", f.stalled(BODY, 9000)) for number in range(10)]
    for number in range(30):
        kept = f.stalled(LARGE, 1_500_000, etag='"v1"', accept_ranges="bytes")
        lost = f.stalled(LARGE, 1_500_000)
        urls.append(server.route(f"/large-{number}.jpg", kept if number % 2 else lost))
    return spread(urls)


@contextmanager
def fifty_running(server: f.FaultServer, folder: Path, *args: str) -> Iterator[RunningGdl]:
    """gdl amidst `slow_fifty`, ten of which are saved and fifteen of which lie in parts that can be continued."""
    (folder / "urls.txt").write_text("".join(f"{url}\n" for url in slow_fifty(server)))
    options = ("--json", "-j", "50", "-o", "out", "--failed", "failed.txt", *args)
    with start_gdl(*options, "urls.txt", cwd=folder) as running:
        server.wait_for_requests(50)
        parts = [folder / f"out/large-{number}.jpg.part" for number in range(30)]
        wait_until(lambda: all(part.exists() and part.stat().st_size > 1_000_000 for part in parts), "parts")
        wait_until(lambda: running.stdout.count("saved") == 10, "ten files")
        yield running


# Signals


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")],
)
def test_a_signal_amidst_fifty_transfers_ends_the_run_and_leaves_only_what_is_of_use(
    faults: f.FaultServer, tmp_path: Path, number: signal.Signals, code: int, name: str
) -> None:
    with fifty_running(faults, tmp_path) as running:
        sent = time.monotonic()
        running.send_signal(number)
        done = running.wait()
        took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (code, True)
    found = kinds(done)
    assert len(found) == 50
    assert {key for key, kind in found.items() if kind is None} == {f"good-{index}.jpg" for index in range(10)}
    assert {kind for kind in found.values() if kind} == {"interrupted"}
    assert {result["status"] for result in done.results if result["error"]} == {"failed"}

    out = tmp_path / "out"
    expected = {f"good-{index}.jpg" for index in range(10)}
    expected |= {f"large-{index}.jpg.part{state}" for index in range(1, 30, 2) for state in ("", ".json")}
    assert set(files(out)) == expected
    for index in range(10):
        assert (out / f"good-{index}.jpg").read_bytes() == samples.picture(index, 9000)
    for index in range(1, 30, 2):
        part = (out / f"large-{index}.jpg.part").read_bytes()
        assert part == LARGE[: len(part)]

    failed = (tmp_path / "failed.txt").read_text().splitlines()
    listed = (tmp_path / "urls.txt").read_text().splitlines()
    assert sorted(failed) == sorted(url for url in listed if "/good-" not in url)
    assert name in done.stderr
    assert "10 saved" in done.stderr
    assert "40 failed (40 interrupted)" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_at_a_terminal_clears_the_bars_and_prints_the_summary(faults: f.FaultServer, tmp_path: Path) -> None:
    urls = slow_fifty(faults)
    with TerminalGdl(["-j", "50", "-o", tmp_path / "out", *urls], columns=120, rows=12) as terminal:
        terminal.wait_for(lambda screen: any("10" in row for row in screen), "the total")
        wait_until((tmp_path / "out/large-1.jpg.part").exists, "a part")
        faults.wait_for_requests(50)
        pressed = time.monotonic()
        terminal.press(b"\x03")
        done = terminal.wait()
        took = time.monotonic() - pressed
    assert (done.returncode, took < SOON) == (130, True)
    shown = "\n".join(done.scrollback)
    assert "stopped by Ctrl-C" in shown
    assert "40 interrupted" in shown
    assert "Traceback" not in shown


def test_a_second_ctrl_c_ends_it_at_once(faults: f.FaultServer, tmp_path: Path) -> None:
    with fifty_running(faults, tmp_path) as running:
        sent = time.monotonic()
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGINT)
        done = running.wait()
        took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (130, True)
    assert "Traceback" not in done.stderr
    assert finished(tmp_path / "out") == {f"good-{index}.jpg" for index in range(10)}


def test_a_kill_leaves_no_wrong_file_and_the_next_run_makes_it_whole(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    with fifty_running(faults, tmp_path) as running:
        running.send_signal(signal.SIGKILL)
        assert running.wait().returncode == -signal.SIGKILL
    assert finished(tmp_path / "out") == {f"good-{index}.jpg" for index in range(10)}
    for number in range(10):
        faults.route(f"/small-{number}.jpg", OK)
    for number in range(30):
        faults.route(f"/large-{number}.jpg", f.resource(LARGE, etag='"v1"'))
    done = gdl("--json", "-o", "out", "urls.txt")
    assert (done.returncode, len(done.results)) == (0, 50)
    assert len(files(tmp_path / "out")) == 50
    assert {(tmp_path / f"out/large-{number}.jpg").read_bytes() == LARGE for number in range(30)} == {True}
    assert {(tmp_path / f"out/small-{number}.jpg").read_bytes() == BODY for number in range(10)} == {True}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_a_signal_ends_a_run_that_waits_for_its_standard_input(
    faults: f.FaultServer, tmp_path: Path, number: signal.Signals, *, busy: bool
) -> None:
    with start_gdl("--json", "-", cwd=tmp_path, feed=True) as running:
        running.feed(faults.route("/a.jpg", OK) + "\n")
        wait_until(lambda: running.stdout, "a result")
        if busy:
            running.feed(faults.route("/b.jpg", f.stalled(BODY, 9000)) + "\n")
            faults.wait_for_requests(2)
        sent = time.monotonic()
        running.send_signal(number)
        done = running.wait()
        took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (128 + number, True)
    assert kinds(done) == {"a.jpg": None, **({"b.jpg": "interrupted"} if busy else {})}
    assert "not read to its end" in done.stderr
    assert files(tmp_path) == ["a.jpg"]


def test_a_signal_ends_waits_for_retries_names_and_connections(faults: f.FaultServer, tmp_path: Path) -> None:
    with f.unanswering_port() as port:
        urls = [
            faults.route("/busy.jpg", f.status(503, retry_after=300)),
            faults.route("/unnamed", f.hold),
            faults.route("/named?1", f.content_disposition(BODY, b'inline; filename="named.jpg"')),
            f"http://127.0.0.1:{port}/silent.jpg",
            "http://no-such-host.invalid/unknown.jpg",
        ]
        with start_gdl("--json", *urls, cwd=tmp_path) as running:
            faults.wait_for_requests(3)
            time.sleep(0.3)
            sent = time.monotonic()
            running.send_signal(signal.SIGINT)
            done = running.wait()
            took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (130, True)
    found = kinds(done)
    assert len(found) == 5
    # It was whole when the signal came: its bytes are kept.
    assert found.pop("named?1") is None
    assert found.pop("unknown.jpg") in ("interrupted", "connection")
    assert set(found.values()) == {"interrupted"}
    assert files(tmp_path) == ["named.jpg"]


def test_nothing_is_asked_for_after_the_signal_by_what_waited_for_its_name(
    faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.route("/unnamed", f.hold)
    faults.otherwise(OK)
    (tmp_path / "a.jpg").write_bytes(b"mine")
    urls = [faults.url("/unnamed"), faults.url("/x/a.jpg"), faults.url("/y/a.jpg"), faults.url("/z/a.jpg")]
    with start_gdl("--json", *urls, cwd=tmp_path) as running:
        faults.wait_for_requests(1)
        time.sleep(0.5)
        sent = time.monotonic()
        running.send_signal(signal.SIGINT)
        done = running.wait()
        took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (130, True)
    assert [request.path for request in faults.requests if request.time > sent] == []
    assert len(done.results) == 4
    assert {(result["error"] or {}).get("kind") for result in done.results if result["status"] != "skipped"} == {
        "interrupted"
    }
    assert (files(tmp_path), (tmp_path / "a.jpg").read_bytes()) == (["a.jpg"], b"mine")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_signal_ends_a_run_whose_output_nobody_reads(
    faults: f.FaultServer, tmp_path: Path, number: signal.Signals, stream: str
) -> None:
    most = 20_000
    (tmp_path / "urls.txt").write_text("".join(faults.url(f"/{'x' * 100}{index}.jpg\n") for index in range(most)))
    arguments = command(["--json" if stream == "stdout" else "-v", "--failed", "failed.txt", "urls.txt"])
    reader, writer = os.pipe()
    try:
        with open(os.devnull, "wb") as nowhere:
            process = subprocess.Popen(
                arguments,
                cwd=tmp_path,
                env=environment(tmp_path),
                stdout=writer if stream == "stdout" else nowhere,
                stderr=writer if stream == "stderr" else nowhere,
                start_new_session=True,
            )
        os.close(writer)
        try:
            faults.wait_for_requests(100)
            asked = -1
            while asked != len(faults.requests):  # until nothing moves any more
                asked = len(faults.requests)
                time.sleep(0.5)
            assert process.poll() is None
            assert asked < most, "it waits for its reader"
            process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reader)
    assert len(faults.requests) < most
    assert files(tmp_path) == ["failed.txt", "urls.txt"]


def test_a_second_signal_leaves_no_temporary_file(faults: f.FaultServer, ca: Authority, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    bad = faults.route("/gone.jpg", f.status(404))
    faults.otherwise(f.hold)
    held = spread([faults.url(f"/{index}.jpg") for index in range(20)])
    urls = [bad, *(url.replace("//", "//me:s3cret@") for url in held)]
    options = ("--json", "-o", "out", "--failed", "failed.txt", "--cacert", ca.file)
    with start_gdl(*options, *urls, cwd=tmp_path, env={"TMPDIR": str(temporary)}) as running:
        faults.wait_for_requests(10)
        wait_until(lambda: running.stdout, "a failure")
        assert [path.name[:4] for path in temporary.iterdir()] == ["gdl-"]
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGTERM)
        done = running.wait()
    assert done.returncode in (130, 143)
    assert files(tmp_path) == ["failed.txt"]
    assert bad in (tmp_path / "failed.txt").read_text().splitlines()
    assert (tmp_path / "failed.txt").stat().st_mode & 0o077 == 0


# Look-ups that hang

SLEEPING_LOOK_UP = """
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    if (node && strncmp(node, "slow", 4) == 0)
        sleep(60);
    return EAI_AGAIN;
}
"""


@pytest.fixture(scope="module")
def sleeping_look_up(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that makes the look-up of names that begin with slow take a minute."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler (Linux)")
    folder = tmp_path_factory.mktemp("preload")
    (folder / "slow.c").write_text(SLEEPING_LOOK_UP)
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "slow.so", "slow.c"], cwd=folder, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("the C compiler does not work here")
    return str(folder / "slow.so")


def test_look_ups_that_hang_cost_their_items_and_hold_up_nobody(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, sleeping_look_up: str
) -> None:
    good = [faults.route(f"/{number}.jpg", f.script(f.pause(0.2), OK)) for number in range(5)]
    slow = [f"http://slow{number}.test/slow-{number}.jpg" for number in range(10)]
    began = time.monotonic()
    done = gdl(
        *("--json", "--timeout", "1", "--retries", "0", "-o", "out", *slow, *good), env={"LD_PRELOAD": sleeping_look_up}
    )
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert kinds(done) == {
        **{f"slow-{number}.jpg": "timeout" for number in range(10)},
        **{f"{number}.jpg": None for number in range(5)},
    }
    assert "5 saved" in done.stderr
    assert files(tmp_path / "out") == [f"{number}.jpg" for number in range(5)]


def test_a_signal_ends_look_ups_that_hang(faults: f.FaultServer, tmp_path: Path, sleeping_look_up: str) -> None:
    urls = [f"http://slow{number}.test/slow-{number}.jpg" for number in range(10)]
    urls.append(faults.route("/a.jpg", OK))
    with start_gdl("--json", *urls, cwd=tmp_path, env={"LD_PRELOAD": sleeping_look_up}) as running:
        wait_until(lambda: running.stdout, "a result")
        sent = time.monotonic()
        running.send_signal(signal.SIGINT)
        done = running.wait()
        took = time.monotonic() - sent
    assert (done.returncode, took < SOON) == (130, True)
    assert kinds(done) == {"a.jpg": None, **{f"slow-{number}.jpg": "interrupted" for number in range(10)}}
    assert "stopped by Ctrl-C" in done.stderr
    assert files(tmp_path) == ["a.jpg"]


LIBRARY = """
import sys, time
from downloader import download
print(sorted(result.status for result in download(sys.argv[2:], output=sys.argv[1], timeout=1, retries=0)))
for result in download(sys.argv[2:], output=sys.argv[1], existing="overwrite"):
    break
print("fine", flush=True)
"""


def test_a_program_goes_on_while_its_look_ups_hang(
    faults: f.FaultServer, tmp_path: Path, sleeping_look_up: str
) -> None:
    urls = [f"http://slow{number}.test/slow.jpg" for number in range(3)]
    urls.append(faults.route("/a.jpg", OK))
    began = time.monotonic()
    with RunningGdl(
        ["out", *urls], cwd=tmp_path, program=("-c", LIBRARY), env={"LD_PRELOAD": sleeping_look_up}
    ) as running:
        wait_until(lambda: "fine" in running.stdout or running.process.poll() is not None, "the end", 30)
        assert time.monotonic() - began < 30
        assert running.stdout.splitlines() == ["['failed', 'failed', 'failed', 'saved']", "fine"]
        assert "Traceback" not in running.stderr


# Signals that a caller has turned off


def test_nohup_is_honoured(faults: f.FaultServer, tmp_path: Path) -> None:
    faults.route("/a.jpg", f.script(f.pause(0.5), OK))
    program = ("-c", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + MAIN)
    with RunningGdl([faults.url("/a.jpg")], cwd=tmp_path, program=program) as running:
        faults.wait_for_requests(1)
        running.send_signal(signal.SIGHUP)
        assert running.wait().returncode == 0
    assert files(tmp_path) == ["a.jpg"]


# Cron


def bare(*args: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run gdl as ``env -i`` does: not one variable, standard input empty."""
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{MAIN}"
    arguments = [sys.executable, "-B", "-c", program, *args]
    return subprocess.run(
        arguments, env={}, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )


MAIN = "from downloader.__main__ import main; main()"


def test_cron_hears_nothing_when_all_is_well(faults: f.FaultServer, tmp_path: Path) -> None:
    urls = [faults.route(f"/{number}.jpg", OK) for number in range(5)]
    urls.append(faults.route("/late.jpg", f.status(503), OK))
    (tmp_path / "urls.txt").write_text("\n".join([*urls, urls[0], f"{urls[1]} 图.jpg"]), "utf-8")
    for _ in range(2):
        done = bare("-q", "urls.txt", "-o", "out", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert files(tmp_path / "out") == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "late.jpg", "图.jpg"]


def test_cron_hears_one_line_for_each_failure(faults: f.FaultServer, tmp_path: Path) -> None:
    lines = [
        faults.route("/fine.jpg", OK),
        faults.route("/gone.jpg", f.status(404)),
        "not a url",
        faults.route("/page.jpg", f.web_page("Sign\nin")),
        f"{faults.url('/x.jpg')} ../up.jpg",
        faults.route("/cut.jpg", f.truncated(BODY, 100)),
        faults.route("/图.jpg", f.status(403)),
        "\x1b[31mhttp://127.0.0.1:1/red.jpg",
    ]
    (tmp_path / "urls.txt").write_text("\n".join(lines), "utf-8")
    done = bare("-q", "urls.txt", "--retries", "1", cwd=tmp_path)
    told = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(told)) == (1, b"", 7)
    assert all(line.startswith("gdl: failed ") for line in told)
    assert all(sum(f"urls.txt:{number}" in line for line in told) == 1 for number in range(2, 9))
    assert b"\x1b" not in done.stderr
    assert files(tmp_path) == ["fine.jpg", "urls.txt"]


def test_bad_lines_are_named_by_list_and_line_and_cost_nothing_else(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path
) -> None:
    lines = [b"# a comment", b""] * 5 + [faults.route("/a.jpg", OK).encode()]
    lines += [b"no url at all", faults.route("/b.jpg", OK).encode(), b"ftp://127.0.0.1/c.jpg", b"http://\xff\xfe/d.jpg"]
    lines += [b'{"url": 5}', b"http://127.0.0.1:99999/e.jpg", faults.route("/f.jpg", OK).encode()]
    (tmp_path / "urls.txt").write_bytes(b"\r\n".join(lines))
    done = gdl("--json", "urls.txt", "--failed", "failed.txt")
    bad = {result["line"]: result for result in done.results if result["status"] == "failed"}
    assert sorted(bad) == [12, 14, 15, 16, 17]
    for line, result in bad.items():
        assert result["error"]["kind"] == "input"
        assert result["reason"].startswith(f"urls.txt:{line}: "), result["reason"]
        assert result["reason"] in done.stderr
        assert (result["source"], result["attempts"]) == ("urls.txt", 0)
    assert (tmp_path / "failed.txt").read_bytes().splitlines() == [lines[number - 1] for number in sorted(bad)]
    assert (done.returncode, files(tmp_path)) == (1, ["a.jpg", "b.jpg", "f.jpg", "failed.txt", "urls.txt"])


def test_what_failed_feeds_back_in(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path) -> None:
    urls = [faults.url(f"/{number}.jpg") for number in range(6)]
    for number in range(6):
        faults.route(f"/{number}.jpg", f.status(404) if number % 2 else OK, OK)
    login = urls[1].replace("//", "//user:s3cret@")
    entries = [
        urls[0],
        f"{login} named one.jpg",
        urls[2],
        f"{urls[3]}\n out=other.jpg\n header=X-Key: k",
        urls[4],
        f'{{"url": "{urls[5]}", "name": "五.jpg", "id": 5}}',
    ]
    (tmp_path / "urls.txt").write_text("\n".join(entries) + "\n", "utf-8")
    first = gdl("--json", "urls.txt", "-o", "out", "--failed", "failed.txt")
    assert (first.returncode, sum(result["status"] == "failed" for result in first.results)) == (1, 3)
    kept = (tmp_path / "failed.txt").read_text("utf-8")
    assert sorted(kept.splitlines()) == sorted("\n".join(entries[1::2]).splitlines())
    assert (tmp_path / "failed.txt").stat().st_mode & 0o077 == 0
    assert "failed.txt" in first.stderr
    assert "s3cret" not in first.stdout + first.stderr

    # The list may be its own next one.
    second = gdl("--json", "failed.txt", "-o", "out", "--failed", "failed.txt")
    assert (second.returncode, [result["status"] for result in second.results]) == (0, ["saved"] * 3)
    assert [result["extra"] for result in second.results if result["extra"]] == [{"id": 5}]
    assert files(tmp_path / "out") == ["0.jpg", "2.jpg", "4.jpg", "named one.jpg", "other.jpg", "五.jpg"]
    assert [faults.requests_for("/3.jpg")[1].header("x-key"), len(faults.requests)] == ["k", 9]
    assert (tmp_path / "failed.txt").read_bytes() == b""


# Nothing more can be written


@contextmanager
def tmpfs(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at ``folder`` while the context lasts."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "gdl-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@as_root
@pytest.mark.parametrize("size", [20_000, 300_000], ids=["small", "large"])
def test_a_full_disk_stops_the_run_and_every_item_has_its_result(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, size: int
) -> None:
    bodies = {f"{number}.jpg": samples.picture(number, size) for number in range(40)}
    urls = [faults.route(f"/{name}", f.ok(body)) for name, body in bodies.items()]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    with tmpfs(tmp_path / "out", "size=512k" if size < 100_000 else "size=2m") as out:
        done = gdl("--json", "-j", "4", "-o", "out", "--failed", "failed.txt", "urls.txt")
        saved = {result["path"].removeprefix("out/") for result in done.results if result["status"] == "saved"}
        assert 3 < len(saved) < 40
        assert files(out) == sorted(saved)
        assert all((out / name).read_bytes() == bodies[name] for name in saved)
    assert (done.returncode, "No space left on device" in done.stderr) == (3, True)
    found = kinds(done)
    assert set(found) == set(bodies)
    assert {kind for name, kind in found.items() if name not in saved} <= {"disk", "interrupted"}
    assert "disk" in found.values()
    assert len((tmp_path / "failed.txt").read_text().splitlines()) == 40 - len(saved)
    assert "Traceback" not in done.stderr
    assert len(faults.requests) < len(saved) + 10, "nothing is asked for that cannot be kept"


@as_root
@pytest.mark.parametrize("size", [20_000, 300_000], ids=["small", "large"])
def test_a_read_only_disk_stops_the_run(faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, size: int) -> None:
    faults.otherwise(f.ok(samples.picture(1, size)))
    with tmpfs(tmp_path / "out", "ro"):
        done = gdl("--json", "-j", "2", "-o", "out", *(faults.url(f"/{number}.jpg") for number in range(20)))
    assert (done.returncode, len(done.results)) == (3, 20)
    assert set(kinds(done).values()) <= {"disk", "interrupted"}
    assert "Read-only file system" in done.stderr
    assert len(faults.requests) <= 4
    assert files(tmp_path) == []


# Permissions do not bind root; Python itself may be where only root can read.
AS_NOBODY = """
import os, sys
command = [sys.executable, "-m", "downloader", *sys.argv[1:]]
if os.geteuid() == 0:
    caps = "-all,+dac_read_search"
    drop = ["--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}"]
    command = ["setpriv", *drop, *command]
os.execvp(command[0], command)
"""


@pytest.mark.parametrize("place", ["out", "out/deeper"])
def test_a_folder_nobody_may_write_to_stops_the_run(faults: f.FaultServer, place: str) -> None:
    if os.geteuid() == 0:
        find_program("setpriv")
    faults.otherwise(OK)
    with tempfile.TemporaryDirectory(prefix="gdl-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "out").mkdir(mode=0o555)
        args = ["--json", "-o", str(folder / place), *(faults.url(f"/{number}.jpg") for number in range(5))]
        with RunningGdl(args, cwd=folder, program=("-c", AS_NOBODY)) as running:
            done = running.wait()
        assert files(folder) == []
    assert (done.returncode, len(done.results)) == (3, 5), done.stderr
    assert set(kinds(done).values()) <= {"disk", "interrupted"}
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


# Nobody listens any more


def test_a_reader_who_has_enough_ends_the_run_without_a_trace(faults: f.FaultServer, tmp_path: Path) -> None:
    faults.otherwise(f.script(f.pause(0.1), OK))
    arguments = command(["--json", "-j", "2", "-o", "out", *(faults.url(f"/{number}.jpg") for number in range(60))])
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=stderr
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdout.close()
        returncode = process.wait(60)
    told = (tmp_path / "stderr").read_text()
    assert line.startswith(b'{"url"')
    assert returncode == 3
    assert "standard output cannot be written" in told
    assert not any(word in told for word in ("Traceback", "Exception", "BrokenPipeError"))
    assert len(faults.requests) < 60
    assert {name for name in files(tmp_path / "out") if not name.endswith(".jpg")} == set()


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">&- 2>/dev/null", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2>/dev/full", 0),
        (">/dev/full", 0),
        ("--json >/dev/full", 3),
        ("--json >&-", 3),
    ],
)
def test_closed_and_full_streams_cost_no_file(
    faults: f.FaultServer, tmp_path: Path, redirection: str, code: int
) -> None:
    bodies = {f"{number}.jpg": samples.picture(number, 100_000) for number in range(4)}
    urls = " ".join(faults.route(f"/{name}", f.ok(body)) for name, body in bodies.items())
    script = f'"$0" -m downloader -o out {urls} {redirection}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == code or (code and done.returncode == 2)  # it may be known beforehand
    saved = (
        {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} if (tmp_path / "out").exists() else {}
    )
    assert saved == ({name: bodies[name] for name in saved} if code else bodies)


@pytest.mark.parametrize("option", ["--failed", "--log-file"])
def test_a_report_that_cannot_be_written_is_told_without_a_trace(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, option: str
) -> None:
    urls = [faults.route("/a.jpg", OK), faults.route("/none.jpg", f.status(404))]
    full = gdl(option, "/dev/full", *urls)
    assert (full.returncode, "Traceback" in full.stderr) == (3, False)
    assert f"{option}: cannot write /dev/full" in full.stderr
    missing = gdl(option, "no/such/folder/file", *urls)
    assert (missing.returncode, f"{option}: cannot write" in missing.stderr) == (2, True)
    assert files(tmp_path) == ["a.jpg"]


def test_an_endless_list_ends_with_its_reader(faults: f.FaultServer, tmp_path: Path) -> None:
    """A list without end is read as there is room for it, and no further."""
    faults.otherwise(f.hold)
    with start_gdl("-j", "4", "-", cwd=tmp_path, feed=True) as running:
        assert running.process.stdin is not None
        os.set_blocking(running.process.stdin.fileno(), False)
        written = 0
        deadline = time.monotonic() + 2
        for number in itertools.count():
            line = faults.url(f"/{number}.jpg").ljust(900, "#").encode() + b"\n"
            if time.monotonic() > deadline:
                break
            try:
                written += os.write(running.process.stdin.fileno(), line)
            except BlockingIOError:
                time.sleep(0.05)
        assert written < 2_000_000
        running.send_signal(signal.SIGINT)
        assert running.wait().returncode == 130
    assert len(faults.requests) <= 4


def test_a_ctrl_c_before_anything_has_begun_prints_no_traceback(tmp_path: Path) -> None:
    program = (
        "import signal, os\n"
        "from downloader import __main__ as entry\n"
        "entry._fill_standard_streams = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "entry.main()\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)], ids=["one", "two"])
@pytest.mark.parametrize(
    ("calls", "place"),
    [("open", "list.txt"), ("mkdir", "out"), ("lock", "out"), ("tmpfile", "out"), ("write", "out"), ("link", "out")],
)
def test_a_signal_ends_a_run_that_is_in_a_call_which_does_not_return(
    faults: f.FaultServer,
    tmp_path: Path,
    failing: Failing,
    calls: str,
    place: str,
    numbers: tuple[signal.Signals, ...],
) -> None:
    """As on a mount that does not answer any more."""
    (tmp_path / "list.txt").write_text(faults.route("/a.jpg", f.ok(samples.picture(1))))
    log = tmp_path / "calls"
    env = failing.environment(Fault(calls, "hang"), within=tmp_path / place, log=log)
    with start_gdl("list.txt", "-o", "out", cwd=tmp_path, env=env) as running:
        wait_until(lambda: any(call.error == -signal.SIGSTOP for call in read_calls(log)), "a call that hangs")
        for number in numbers:
            running.send_signal(number)
        done = running.wait(SOON)
    assert done.returncode == 128 + numbers[0]
    assert done.stderr.count("\n") == 1
    assert "does not return" in done.stderr
    assert not (tmp_path / "out" / "a.jpg").exists()


def test_a_signal_is_heard_of_by_a_run_that_was_stopped_and_goes_on(faults: f.FaultServer, tmp_path: Path) -> None:
    with fifty_running(faults, tmp_path) as running:
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGSTOP)
        time.sleep(3)  # more than a run has that gives no sign of life
        running.send_signal(signal.SIGCONT)
        done = running.wait()
    assert done.returncode == 143
    assert len(done.results) == 50
