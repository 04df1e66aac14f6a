"""Small and closed file systems, real ones, and other users: for root on Linux; elsewhere the test is skipped."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextmanager
def tmpfs(folder: Path, size: str, *, inodes: int | None = None) -> Iterator[Path]:
    """``folder``, made where it is missing, as a file system of its own: ``size`` as in ``4m``, so many ``inodes``."""
    folder.mkdir(exist_ok=True)
    options = f"size={size}" if inodes is None else f"size={size},nr_inodes={inodes}"
    _mount("-t", "tmpfs", "-o", options, "gdl-test", str(folder))
    try:
        yield folder
    finally:
        unmount(folder)


def resize(folder: Path, size: str, *, inodes: int | None = None) -> None:
    """Give the tmpfs at ``folder`` another size."""
    options = f"remount,size={size}" if inodes is None else f"remount,size={size},nr_inodes={inodes}"
    subprocess.run(["mount", "-o", options, folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """``folder``, in which nothing can be written meanwhile."""
    _mount("--bind", str(folder), str(folder))
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield folder
    finally:
        unmount(folder)


def without_privileges() -> list[str]:
    """What to put before a command so that permissions count for it, even if the tests run as root."""
    if os.geteuid() != 0:
        return []
    return [find_program("setpriv"), "--bounding-set=-all", "--inh-caps=-all"]


def as_user(uid: int, gid: int | None = None) -> list[str]:
    """What to put before a command so that another user runs it, who may read everything; for root only."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    user = [f"--reuid={uid}", f"--regid={uid if gid is None else gid}", "--clear-groups"]
    return [find_program("setpriv"), *user, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def mount(*args: str, pass_fds: Sequence[int] = ()) -> str | None:
    """Mount, for root only; return the system's words where it refuses to, else None."""
    done = subprocess.run(
        [find_program("mount"), *args], check=False, capture_output=True, text=True, pass_fds=pass_fds
    )
    return f"cannot mount here: {done.stderr.partition(chr(10))[0]}" if done.returncode else None


def is_mounted(folder: Path) -> bool:
    """Tell whether something is mounted at ``folder``, without asking the file system, which might not answer."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return str(folder) in [line.split(" ")[4] for line in mounts]


def unmount(folder: Path) -> None:
    """Unmount ``folder``, at once for whoever looks there, and really when nothing there is open any more."""
    subprocess.run(["umount", "-l", folder], check=True)


def _mount(*args: str) -> None:
    refusal = mount(*args) if os.geteuid() == 0 else "only root may mount"
    if refusal is not None:
        pytest.skip(refusal)
