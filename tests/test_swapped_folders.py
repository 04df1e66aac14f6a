"""Folders that somebody swaps for links while gdl waits: nothing is written, replaced or removed outside."""

from __future__ import annotations

import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import answers, samples
from support import faults as f
from support.cli import start_gdl
from support.disks import tmpfs
from support.parts import files
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.cli import Completed

MIB = 1024 * 1024
SMALL = samples.picture(1, 20_000)
LARGE = samples.mp4(3 * MIB)
BODIES = {"small.jpg": SMALL, "large.mp4": LARGE}
MINE = b"mine, and to stay so"
NAME = "sub/deep/{}"


class Swap(NamedTuple):
    """A folder that becomes a link, by its path, and where that leads."""

    folder: str
    target: str
    inside: bool = False
    """Whether the link leads to where the folder is now: then it is as if nothing had happened."""


SWAPS = {
    "the sub-folder": Swap("out/sub/deep", "../../outside"),
    "by an absolute path": Swap("out/sub/deep", "{tmp}/outside"),
    "its parent": Swap("out/sub", "../outside-with"),
    "for where it was moved to": Swap("out/sub/deep", "{moved}"),
    "for where it was moved to inside": Swap("out/sub/deep", "inside", inside=True),
}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """Folders that gdl was not told of, with a file under each name: none of it may change."""
    before = {}
    for folder in ("outside", "outside-with/deep"):
        (tmp_path / folder).mkdir(parents=True)
        for name in BODIES:
            (tmp_path / folder / name).write_bytes(MINE)
            before[f"{folder}/{name}"] = MINE
    yield tmp_path / "outside"
    found = {path: (tmp_path / path).read_bytes() for path in files(tmp_path) if path.startswith("outside")}
    assert found == before


def swap(tmp: Path, how: Swap) -> None:
    folder = tmp / how.folder
    moved = tmp / "out/sub/inside" if how.inside else tmp / "moved"
    folder.rename(moved)
    folder.symlink_to(how.target.format(tmp=tmp, moved=moved))


def check(done: Completed, tmp: Path, *, saved: bool) -> None:
    [result] = done.results
    assert "Traceback" not in done.stderr
    assert "gdl has a bug" not in done.stderr
    if saved:
        assert result["status"] == "saved", done.stderr
        assert (tmp / result["path"]).read_bytes() == BODIES[result["url"].rpartition("/")[2]]
    else:
        assert (result["status"], result["error"]["kind"]) in [("failed", "name"), ("failed", "lost")], done.stderr
        assert done.returncode == 1
    assert not [path for path in files(tmp) if path.startswith("moved") and path.endswith(tuple(BODIES))]


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("moment", ["before the answer", "in the body"])
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    ("how", "options"),
    [
        *((how, ()) for how in SWAPS),
        ("the sub-folder", ("--existing", "overwrite")),
        ("the sub-folder", ("--existing", "rename")),
        ("the sub-folder", ("--fsync",)),
    ],
)
def test_a_sub_folder_that_becomes_a_link_leads_nowhere(
    faults: f.FaultServer, tmp_path: Path, how: str, name: str, moment: str, options: tuple[str, ...]
) -> None:
    swapped, body = threading.Event(), BODIES[name]
    head = f.head(200, content_length=len(body), content_type="video/mp4", etag='"v1"', accept_ranges="bytes")
    at = 0 if moment == "before the answer" else 2 * len(body) // 3
    sent = b"" if at == 0 else head + body[:at]
    rest = body[at:] if at else head + body
    url = faults.route(f"/{name}", f.script(sent, f.when(swapped, answers.script(rest))))
    (tmp_path / "out/sub/deep").mkdir(parents=True)
    listed = f"{url} {NAME.format(name)}\n"
    args = ("--json", "--retries", "0", *options, "-o", "out", "-")
    with start_gdl(*args, stdin=listed, cwd=tmp_path) as running:
        faults.wait_for_requests(1)
        if at and body is LARGE:
            wait_until((tmp_path / "out/sub/deep/large.mp4.part.json").exists, "a part and its state")
        swap(tmp_path, SWAPS[how])
        swapped.set()
        done = running.wait()
    check(done, tmp_path, saved=SWAPS[how].inside)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("existing", ["skip", "overwrite"])
@pytest.mark.parametrize("name", BODIES)
def test_a_file_that_waits_for_its_name_gets_it_nowhere_else(
    faults: f.FaultServer, tmp_path: Path, name: str, existing: str
) -> None:
    """Between the last byte and its name: names that come before it in the list hold it up."""
    swapped = threading.Event()
    first = faults.route("/first/", f.when(swapped, f.ok(samples.picture(2), content_disposition="inline")))
    url = faults.route(f"/{name}", f.ok(BODIES[name], "video/mp4", etag='"v1"', accept_ranges="bytes"))
    (tmp_path / "out/sub/deep").mkdir(parents=True)
    args = ("--json", "--retries", "0", "--existing", existing, "--name", "sub/deep/{name}", "-o", "out", first, url)
    with start_gdl(*args, cwd=tmp_path) as running:
        wait_until(lambda: len(faults.requests_for(f"/{name}")) == 1, "the request")
        if name == "large.mp4":
            part = tmp_path / "out/sub/deep/large.mp4.part"
            wait_until(lambda: part.exists() and part.stat().st_size == len(LARGE), "the whole part")
        swap(tmp_path, SWAPS["the sub-folder"])
        swapped.set()
        done = running.wait()
    assert {result["error"]["kind"] for result in done.results} <= {"name", "lost"}, done.stderr


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("existing", ["skip", "overwrite", "rename"])
@pytest.mark.parametrize("name", BODIES)
def test_an_output_folder_that_becomes_a_link_leads_nowhere(
    faults: f.FaultServer, tmp_path: Path, name: str, existing: str
) -> None:
    swapped, body = threading.Event(), BODIES[name]
    url = faults.route(f"/{name}", f.when(swapped, f.ok(body, "video/mp4", etag='"v1"', accept_ranges="bytes")))
    (tmp_path / "out").mkdir()
    args = ("--json", "--existing", existing, "-o", "out", url)
    with start_gdl(*args, cwd=tmp_path) as running:
        faults.wait_for_requests(1)
        (tmp_path / "out").rename(tmp_path / "moved")
        (tmp_path / "out").symlink_to("outside")
        swapped.set()
        done = running.wait()
    assert (done.returncode, [result["status"] for result in done.results]) == (3, ["saved"]), done.stderr
    assert files(tmp_path / "moved") == [name], "what the user meant is where it was moved to"
    assert (tmp_path / "moved" / name).read_bytes() == body


def moved(out: Path) -> str:
    out.rename(out.with_name("moved"))
    return f"in {out.with_name('moved')}"


def replaced(out: Path) -> str:
    told = moved(out)
    out.mkdir()
    return told


def mounted_over(out: Path) -> str:
    subprocess.run(["mount", "-t", "tmpfs", "gdl-test", out], check=True)
    return "mounted over"


def unmounted(out: Path) -> str:
    subprocess.run(["umount", "-l", out], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "gdl-test", out], check=True)
    return "unmounted"


@pytest.mark.parametrize("pull", [moved, replaced, mounted_over, unmounted])
def test_a_run_whose_folder_is_elsewhere_at_its_end_says_so(
    faults: f.FaultServer, tmp_path: Path, pull: Callable[[Path], str]
) -> None:
    asked = threading.Event()
    out = tmp_path / "out"
    with ExitStack() as stack:
        if pull in (mounted_over, unmounted):
            stack.enter_context(tmpfs(out, "4m"))
        urls = [faults.route("/a.jpg", f.ok(SMALL)), faults.route("/b.jpg", f.when(asked, f.ok(SMALL)))]
        running = stack.enter_context(start_gdl(*urls, "-o", "out", "--json", cwd=tmp_path))
        wait_until((out / "a.jpg").exists, "the first file")
        told = pull(out)
        asked.set()
        done = running.wait()
        if pull is mounted_over:
            subprocess.run(["umount", out], check=True)
    assert [result["status"] for result in done.results] == ["saved", "saved"]
    assert done.returncode == 3
    assert "not the folder any more" in done.stderr
    assert told in done.stderr
