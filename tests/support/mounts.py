"""File systems of other programs, mounted through FUSE: a folder, an image or a server as these show it.

For root on Linux; where the kernel does not let us mount, the test is skipped. A program that is missing counts as in
`support.processes.find_program`. Whatever happens, what was mounted is unmounted and its process ends.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.disks import is_mounted, mount, unmount
from support.processes import end, find_program, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEVICE: Final = "/dev/fuse"
SFTP_SERVER: Final = "/usr/lib/openssh/sftp-server"
IMAGE_SIZE: Final = 64 * 1024 * 1024
START_SECONDS: Final = 30.0
UNMOUNT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Kind:
    """How to mount a file system of one kind, and what it can do."""

    name: str
    command: Callable[[Path, Path], Sequence[str]]
    """What shows a store at a folder, and stays in the foreground while it does."""
    prepare: Callable[[Path], None]
    """Makes a store in an empty folder."""

    def __str__(self) -> str:
        return self.name


def _make_files(store: Path) -> None:
    (store / "files").mkdir()


def _make_branches(store: Path) -> None:
    (store / "one").mkdir()
    (store / "two").mkdir()


def _make_ntfs(store: Path) -> None:
    with (store / "image").open("wb") as image:
        image.truncate(IMAGE_SIZE)
    _run("mkntfs", "--force", "--quick", "--quiet", str(store / "image"))


def _make_gocryptfs(store: Path) -> None:
    _make_files(store)
    (store / "password").write_text("secret\n")
    _run("gocryptfs", "-init", "-quiet", "-scryptn", "10", "-passfile", str(store / "password"), str(store / "files"))


def _run(program: str, *args: str) -> None:
    subprocess.run([find_program(program), *args], check=True, capture_output=True)


def _bindfs(*options: str) -> Callable[[Path, Path], Sequence[str]]:
    return lambda store, folder: [find_program("bindfs"), "-f", *options, str(store / "files"), str(folder)]


def _ntfs(store: Path, folder: Path) -> Sequence[str]:
    return [find_program("ntfs-3g"), "-o", "no_detach", str(store / "image"), str(folder)]


def _mergerfs(store: Path, folder: Path) -> Sequence[str]:
    # Each new file is on either of them.
    branches = f"{store / 'one'}:{store / 'two'}"
    return [find_program("mergerfs"), "-f", "-o", "category.create=rand", branches, str(folder)]


def _sshfs(store: Path, folder: Path) -> Sequence[str]:
    script = store / "ssh"  # instead of the one that would go to another machine
    script.write_text(f"#!/bin/sh\nexec {find_program(SFTP_SERVER)}\n")
    script.chmod(0o755)
    return [find_program("sshfs"), "-f", "-o", f"ssh_command={script}", f"host:{store / 'files'}", str(folder)]


def _rclone(mode: str) -> Callable[[Path, Path], Sequence[str]]:
    return lambda store, folder: [
        find_program("rclone"),
        "mount",
        f"--config={os.devnull}",
        f"--cache-dir={store / 'cache'}",
        f"--vfs-cache-mode={mode}",
        "--vfs-write-wait=10ms",
        str(store / "files"),
        str(folder),
    ]


def _gocryptfs(store: Path, folder: Path) -> Sequence[str]:
    return [
        find_program("gocryptfs"),
        "-fg",
        "-quiet",
        "-passfile",
        str(store / "password"),
        str(store / "files"),
        str(folder),
    ]


WRITES: Final = Kind("rclone writes", _rclone("writes"), _make_files)
KINDS: Final = (
    Kind("bindfs", _bindfs(), _make_files),
    Kind("bindfs of another user", _bindfs("--force-user=1001", "--force-group=1001"), _make_files),
    Kind("ntfs-3g", _ntfs, _make_ntfs),
    Kind("mergerfs", _mergerfs, _make_branches),
    Kind("sshfs", _sshfs, _make_files),
    Kind("gocryptfs", _gocryptfs, _make_gocryptfs),
    Kind("rclone minimal", _rclone("minimal"), _make_files),
    WRITES,
)
IN_ORDER: Final = Kind("rclone off", _rclone("off"), _make_files)
"""One that takes the bytes of a file only in their order, once, so that gdl can save nothing there."""


@contextmanager
def mounted(kind: Kind, store: Path, folder: Path) -> Iterator[Path]:
    """``folder``, made where it is missing, as the file system ``kind`` that keeps all in ``store``.

    What an earlier mount has left in the store is there again.
    """
    skip_unless_mountable()
    if not store.exists():
        store.mkdir(parents=True)
        kind.prepare(store)
    with fuse_process(kind.command(store, folder), folder):
        yield folder


@contextmanager
def fuse_process(command: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> Iterator[None]:
    """A process that mounts ``folder`` and stays in the foreground. Raises RuntimeError with what it printed."""
    skip_unless_mountable()
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
        try:
            wait_until(lambda: process.poll() is not None or is_mounted(folder), "a mount", START_SECONDS)
            if process.poll() is not None:
                output.seek(0)
                raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{output.read().decode()}")
            yield
        finally:
            _end_mount(process, folder)


def _end_mount(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Unmount and wait for the process; where it does not come to its end, kill it, so that nobody waits for it."""
    try:
        # It is refused while a process that was killed just now has a file open.
        wait_until(lambda: not is_mounted(folder) or _unmounts(folder), "an unmount", UNMOUNT_SECONDS)
        process.wait(UNMOUNT_SECONDS)
    except (subprocess.TimeoutExpired, TimeoutError):
        process.kill()
    end(process)
    if is_mounted(folder):
        unmount(folder)


def _unmounts(folder: Path) -> bool:
    done = subprocess.run(["umount", folder], check=False, capture_output=True, timeout=UNMOUNT_SECONDS)
    return done.returncode == 0


def skip_unless_mountable() -> None:
    """Skip the test where the kernel does not let us mount."""
    refusal = _refusal()
    if refusal is not None:
        pytest.skip(refusal)


@cache
def _refusal() -> str | None:
    """Why nothing can be mounted through FUSE here, found out by trying; None where it can be."""
    if os.geteuid() != 0:
        return "only root may mount"
    try:
        device = os.open(DEVICE, os.O_RDWR)
    except OSError as error:
        return f"{DEVICE}: {error.strerror}"
    with tempfile.TemporaryDirectory(prefix="gdl-test-") as folder:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        refusal = mount("-i", "-t", "fuse", "-o", options, "gdl-test", folder, pass_fds=(device,))
        os.close(device)  # nobody answers: from now on the kernel says so itself
        if refusal is None:
            unmount(Path(folder))
    return refusal
