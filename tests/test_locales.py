"""gdl in a locale that is not UTF-8: file names are UTF-8 all the same, on the disk and wherever they are told."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.locales import latin_1

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import RunGdl


@pytest.mark.parametrize("out", ["Bücher", "图"])
def test_names_of_any_letters_are_saved_and_told_as_they_are(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, out: str
) -> None:
    small, large = samples.picture(1), samples.mp4(2 << 20)
    faults.route("/%E5%9B%BE.jpg", f.ok(small))
    faults.route("/M%C3%BCller.mp4", f.ok(large, "video/mp4", etag='"1"'))
    faults.route("/3", f.ok(small))
    named = "Ä/图 1.jpg"
    lines = [faults.url("/%E5%9B%BE.jpg"), faults.url("/M%C3%BCller.mp4"), f"{faults.url('/3')} {named}", "kein/图"]
    (tmp_path / "lïst.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    args = ("--json", "--retries", "0", "--failed", "fäil.txt", "--log-file", "lög.txt", "-o", out, "lïst.txt")
    locale = latin_1(tmp_path)
    expected = {f"{out}/图.jpg": small, f"{out}/Müller.mp4": large, f"{out}/{named}": small}
    for status in ("saved", "skipped"):
        done = gdl(*args, env=locale)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        assert {result["path"]: result["status"] for result in results if result["path"]} == dict.fromkeys(
            expected, status
        ), done.stderr
        assert {result["source"] for result in results} == {"lïst.txt"}
        assert done.returncode == 1, "a line is none"
        assert "lïst.txt:4: " in done.stderr
        assert "what failed is in fäil.txt" in done.stderr
    assert {path: (tmp_path / path).read_bytes() for path in expected} == expected
    assert len(os.listdir(tmp_path / out)) == 3
    assert f"saved {out}/图.jpg" in (tmp_path / "lög.txt").read_text("utf-8")
    assert (tmp_path / "fäil.txt").read_text("utf-8") == "kein/图\n"
