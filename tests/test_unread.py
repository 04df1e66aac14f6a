"""Runs whose output nobody reads, and lists that have bytes but no lines: one signal ends them, whatever they do."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import pytest
from support import faults as f
from support.cli import command, environment
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

Sink = Literal["read", "pipe", "terminal", "held terminal"]
"""What a standard stream is: a file, or something that nobody reads."""

SOON = 10.0
"""Seconds in which a run must have ended that was told to, on a busy machine too; on an idle one it takes about one."""
MANY = 20_000


@dataclass
class Unread:
    """A gdl that runs with unread streams."""

    process: subprocess.Popen[bytes]
    folder: Path
    readers: list[int] = field(default_factory=list)

    def wait_until_begun(self) -> None:
        """Return when the list is being read."""
        wait_until((self.folder / "log.txt").exists, "the log file")
        time.sleep(0.4)
        assert self.process.poll() is None, self.told()

    def hears_signals(self) -> bool:
        """Whether it waits for signals by now, which are blocked for that (proc_pid_status(5))."""
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        )
        return bool(int(status["SigBlk"], 16) & 1 << (signal.SIGTERM - 1))

    def wait_until_stuck(self) -> None:
        """Return when a stream has taken all that it takes, so that nothing goes on."""
        self.wait_until_begun()
        log = self.folder / "log.txt"
        deadline, size, since = time.monotonic() + 30, 0, time.monotonic()
        while time.monotonic() < since + 0.5:
            assert time.monotonic() < deadline, "it goes on"
            if (found := log.stat().st_size) != size or not found:
                size, since = found, time.monotonic()
            time.sleep(0.05)
        assert self.process.poll() is None, self.told()

    def stop(self, *numbers: signal.Signals) -> int:
        """Send the signals and return the exit code. Raises TimeoutExpired where it goes on."""
        for number in numbers:
            self.process.send_signal(number)
        return self.process.wait(SOON)

    def told(self) -> str:
        """What came on the streams that are read, and what lies in the others."""
        text = b"".join((self.folder / name).read_bytes() for name in ("stdout", "stderr"))
        for fd in self.readers:
            os.set_blocking(fd, False)
            try:
                text += os.read(fd, 1 << 20)
            except OSError:  # a terminal whose other side is closed
                continue
        return text.decode("utf-8", "replace")

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "stdout").read_text().splitlines()]


def _waiting(fd: int) -> int:
    """Bytes that lie in a pipe or a terminal, unread."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


@contextmanager
def unread(
    folder: Path, *args: str, stdout: Sink = "read", stderr: Sink = "read", stdin: int | IO[bytes] | None = None
) -> Iterator[Unread]:
    """Start gdl in ``folder``."""
    with ExitStack() as stack:
        readers, streams = [], []
        for name, sink in (("stdout", stdout), ("stderr", stderr)):
            reader, writer = _sink(folder / name, sink)
            stack.callback(os.close, writer)
            streams.append(writer)
            if reader is not None:
                stack.callback(os.close, reader)
                readers.append(reader)
        process = subprocess.Popen(
            command(["--log-file", "log.txt", "-o", "out", *args]),
            cwd=folder,
            env=environment(folder, {"TERM": "xterm"}),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=streams[0],
            stderr=streams[1],
            start_new_session=True,
        )
        try:
            yield Unread(process, folder, readers)
        finally:
            process.kill()
            process.wait()


def _sink(path: Path, sink: Sink) -> tuple[int | None, int]:
    """The end that nobody reads, where there is one, and the end that gdl gets."""
    path.touch()
    if sink == "read":
        return None, os.open(path, os.O_WRONLY | os.O_APPEND)
    if sink == "pipe":
        return os.pipe()
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    if sink == "held terminal":
        os.write(controller, b"\x13")  # Ctrl-S
    return controller, terminal


def write_list(folder: Path, kind: str) -> str:
    """A list none of whose lines needs a request, and the file that has it."""
    urls = [f"http://127.0.0.1:9/{number}.jpg" for number in range(MANY)]
    lines = {
        "bad lines": ["no url"] * MANY,
        "files that exist": urls,
        "would be saved": urls,
        "duplicates": ["http://127.0.0.1:9/1.jpg"] * MANY,
        "colliding": [f"http://127.0.0.1:9/{number}/1.jpg" for number in range(MANY)],
    }[kind]
    (folder / "urls.txt").write_text("".join(f"{line}\n" for line in lines))
    if kind in ("files that exist", "duplicates", "colliding"):
        (folder / "out").mkdir()
        for number in range(MANY if kind == "files that exist" else 2):
            (folder / "out" / f"{number}.jpg").touch()
    return "urls.txt"


UNREAD: list[tuple[str, list[str], Sink, Sink]] = [
    ("bad lines", [], "read", "pipe"),
    ("bad lines", ["-q"], "read", "pipe"),
    ("bad lines", ["--json"], "pipe", "read"),
    ("bad lines", ["--json"], "pipe", "pipe"),
    ("bad lines", ["--json"], "read", "pipe"),
    ("bad lines", ["--json", "--failed", "failed.txt"], "pipe", "terminal"),
    ("bad lines", [], "read", "terminal"),
    ("bad lines", [], "read", "held terminal"),
    ("bad lines", ["-q"], "read", "held terminal"),
    ("bad lines", ["--json"], "terminal", "terminal"),
    ("bad lines", ["--progress", "bars"], "read", "pipe"),
    ("bad lines", ["--json", "--progress", "bars"], "read", "pipe"),
    ("bad lines", ["--progress", "lines"], "read", "held terminal"),
    ("files that exist", ["--json"], "pipe", "read"),
    ("files that exist", ["-v"], "read", "pipe"),
    ("files that exist", ["-v"], "read", "terminal"),
    ("files that exist", ["--json", "--progress", "bars"], "pipe", "pipe"),
    ("would be saved", ["--dry-run"], "read", "pipe"),
    ("would be saved", ["--dry-run", "--json"], "pipe", "held terminal"),
    ("duplicates", ["-v"], "read", "pipe"),
    ("duplicates", ["--json"], "pipe", "read"),
    ("colliding", ["--json"], "pipe", "terminal"),
]


@pytest.mark.parametrize(("kind", "options", "stdout", "stderr"), UNREAD)
def test_a_signal_ends_a_run_that_nobody_reads_while_it_reads_its_list(
    tmp_path: Path, kind: str, options: list[str], stdout: Sink, stderr: Sink
) -> None:
    number = signal.SIGINT if UNREAD.index((kind, options, stdout, stderr)) % 2 else signal.SIGTERM
    listed = write_list(tmp_path, kind)
    with unread(tmp_path, *options, listed, stdout=stdout, stderr=stderr) as run:
        run.wait_until_stuck()
        assert run.stop(number) == 128 + number
        told = run.told()
    assert not any(word in told for word in ("Traceback", "Exception", "LoopExit"))
    # One result for each line as far as the list was read, in its order.
    logged = (tmp_path / "log.txt").read_text().splitlines()
    assert len(logged) < MANY
    if "--json" in options and stdout == "read":
        lines = [result["line"] for result in run.results]
        assert lines == list(range(1, len(logged) + 1))
    if "--failed" in options:
        assert len((tmp_path / "failed.txt").read_text().splitlines()) == len(logged)


@pytest.mark.parametrize(("stdout", "stderr"), [("pipe", "pipe"), ("pipe", "terminal"), ("read", "held terminal")])
def test_two_signals_end_it_at_once(tmp_path: Path, stdout: Sink, stderr: Sink) -> None:
    listed = write_list(tmp_path, "bad lines")
    options = ["--json", "--failed", "failed.txt", "--progress", "bars"]
    with unread(tmp_path, *options, listed, stdout=stdout, stderr=stderr) as run:
        run.wait_until_stuck()
        assert run.stop(signal.SIGTERM, signal.SIGINT) in (130, 143)
        assert "Traceback" not in run.told()
    assert not list(tmp_path.glob(".gdl-failed*"))


@pytest.mark.parametrize("option", ["--log-file", "--failed"])
@pytest.mark.parametrize("opened", [True, False], ids=["opened", "nobody at its other end"])
def test_a_signal_ends_a_run_whose_reports_go_into_a_pipe_that_nobody_reads(
    tmp_path: Path, option: str, *, opened: bool
) -> None:
    listed = write_list(tmp_path, "bad lines")
    os.mkfifo(tmp_path / "report")
    reader = os.open(tmp_path / "report", os.O_RDONLY | os.O_NONBLOCK) if opened else -1
    with unread(tmp_path, "--json", option, "report", listed) as run:
        if opened:
            wait_until(lambda: _waiting(reader) >= 4096, "lines in the pipe")
        wait_until(run.hears_signals, "its handlers of signals")
        time.sleep(0.2)
        assert run.process.poll() is None
        assert run.stop(signal.SIGTERM) == 143
        told = run.told()
    assert "Traceback" not in told
    assert [result["line"] for result in run.results] == list(range(1, len(run.results) + 1))
    assert bool(run.results) is opened
    if opened:
        os.close(reader)


@pytest.mark.parametrize("option", ["--cookies", "--cacert"])
def test_a_signal_ends_a_run_that_waits_for_what_an_option_names(tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with unread(tmp_path, option, "pipe", "http://127.0.0.1:9/a.jpg") as run:
        run.wait_until_begun()
        assert run.stop(signal.SIGINT) == 130
        assert "Traceback" not in run.told()


def test_what_was_read_and_not_done_has_its_result_though_nobody_reads_the_lines_about_it(
    tmp_path: Path, faults: f.FaultServer
) -> None:
    faults.otherwise(f.hold)
    urls = [faults.url(f"/{number}.jpg").replace("127.0.0.1", f"h{number % 9}.localhost") for number in range(5000)]
    (tmp_path / "urls.txt").write_text("bad\n" * 3000 + "".join(f"{url}\n" for url in urls))
    options = ["--json", "-j", "40", "--per-host", "2", "--failed", "failed.txt"]
    with unread(tmp_path, *options, "urls.txt", stderr="pipe") as run:
        run.wait_until_stuck()
        assert run.stop(signal.SIGTERM) == 143
    lines = [result["line"] for result in run.results]
    assert sorted(lines) == list(range(1, len(lines) + 1))
    assert len((tmp_path / "failed.txt").read_text().splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"), [(["--json", "-q"], "pipe", "read"), ([], "read", "terminal")]
)
def test_a_signal_ends_a_run_that_has_only_to_tell_what_it_has_done(
    tmp_path: Path, options: list[str], stdout: Sink, stderr: Sink
) -> None:
    (tmp_path / "urls.txt").write_text("no url\n" * 150)
    options = [*options, "--progress", "lines", "--failed", "failed.txt"]
    with unread(tmp_path, *options, "urls.txt", "urls.txt", stdout=stdout, stderr=stderr) as run:
        run.wait_until_stuck()
        assert run.stop(signal.SIGTERM) == 143
        assert "Traceback" not in run.told()
    assert len((tmp_path / "failed.txt").read_text().splitlines()) == 300


def test_what_was_held_up_comes_when_somebody_reads_again(tmp_path: Path) -> None:
    listed = write_list(tmp_path, "bad lines")
    with unread(tmp_path, "--json", listed, stdout="pipe", stderr="held terminal") as run:
        run.wait_until_stuck()
        (pipe, controller) = run.readers
        os.write(controller, b"\x11")  # Ctrl-Q
        found = {pipe: b"", controller: b""}
        for fd in found:
            os.set_blocking(fd, False)
        deadline = time.monotonic() + 60
        while run.process.poll() is None or any(_waiting(fd) for fd in found):
            assert time.monotonic() < deadline, {fd: text[-300:] for fd, text in found.items()}
            for fd in found:
                try:
                    found[fd] += os.read(fd, 1 << 16)
                except OSError:
                    time.sleep(0.001)
    assert run.process.returncode == 1
    assert [json.loads(line)["line"] for line in found[pipe].splitlines()] == list(range(1, MANY + 1))
    shown = found[controller].decode()
    places = [f"urls.txt:{number}:" for number in range(1, MANY + 1)]
    at = 0
    for place in places:  # in their order
        at = shown.index(place, at)
    assert "20000 failed" in shown[at:]


# Lists without lines


def endless(folder: Path, kind: str, stack: ExitStack) -> tuple[list[str], int | IO[bytes] | None]:
    """Arguments for a list that never has a line to give, and standard input for it."""
    if kind == "zeros":
        return [], stack.enter_context(open("/dev/zero", "rb"))
    if kind == "zeros, by name":
        return ["/dev/zero"], None
    if kind == "film":
        with (folder / "film.mp4").open("wb") as film:
            film.truncate(40 << 30)
        return ["film.mp4"], None
    if kind == "film on standard input":
        return ["-"], stack.enter_context((endless(folder, "film", stack) and folder / "film.mp4").open("rb"))
    if kind == "nobody writes":
        os.mkfifo(folder / "list")
        return ["list"], None
    text = {
        "blank lines": "",
        "comments": "# a comment",
        "options": " a=b",
        "carriage returns": "\r",
        "marks": "\ufeff",
    }
    process = subprocess.Popen(["yes", text[kind]], stdout=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    return ["-"], stack.enter_context(process.stdout)


KINDS = ["zeros", "zeros, by name", "film", "film on standard input", "nobody writes", "blank lines", "comments"]
KINDS += ["carriage returns", "marks"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stderr", ["read", "terminal"])
def test_a_signal_ends_a_run_whose_list_has_no_lines(tmp_path: Path, kind: str, stderr: Sink) -> None:
    number = signal.SIGINT if KINDS.index(kind) % 2 else signal.SIGTERM
    with ExitStack() as stack:
        arguments, stdin = endless(tmp_path, kind, stack)
        with unread(tmp_path, *arguments, stderr=stderr, stdin=stdin) as run:
            run.wait_until_begun()
            assert run.stop(number) == 128 + number
            assert "Traceback" not in run.told()


def test_an_entry_whose_options_never_end_holds_up_nobody(tmp_path: Path) -> None:
    with ExitStack() as stack:
        arguments, stdin = endless(tmp_path, "options", stack)
        with unread(tmp_path, *arguments, "--json", stdout="pipe", stdin=stdin) as run:
            run.wait_until_stuck()
            assert run.stop(signal.SIGTERM) == 143


def test_downloads_go_on_beside_a_list_without_lines(tmp_path: Path, faults: f.FaultServer) -> None:
    urls = [faults.route(f"/{number}.jpg", f.script(f.pause(0.1), f.status(404))) for number in range(30)]
    with open("/dev/zero", "rb") as zeros, unread(tmp_path, "--json", *urls, "-", stdin=zeros) as run:
        wait_until(lambda: len(run.results) == 30, "all results")
        assert run.stop(signal.SIGTERM) == 143


def test_files_are_counted_for_the_bars_beside_the_downloads(tmp_path: Path, faults: f.FaultServer) -> None:
    """Not before them: the first request goes out while the list is still being counted."""
    faults.otherwise(f.hold)
    line = faults.url(f"/{'x' * 150}.jpg\n")
    (tmp_path / "urls.txt").write_text(line * (60_000_000 // len(line)))
    with unread(tmp_path, "--progress", "bars", "urls.txt", stderr="terminal") as run:
        faults.wait_for_requests(1)
        assert run.stop(signal.SIGTERM) == 143
        assert "/" not in run.told().partition(" files")[0], "the number of files is not known yet"
