"""Small and closed file systems, real ones, and other users: for root on Linux; elsewhere the test is skipped."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        _unmount(folder)


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
        _unmount(folder)


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


def _mount(*args: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run([find_program("mount"), *args], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", folder], check=True)
