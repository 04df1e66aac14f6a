"""gdl in a locale that is not UTF-8: file names are UTF-8 all the same, on the disk and wherever they are told."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import faults as f
from support import samples
from support.cli import command, environment
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


@pytest.mark.parametrize("locale", ["ISO 8859-1", "C"])
def test_arguments_in_utf_8_are_understood_as_that(
    faults: f.FaultServer, gdl: RunGdl, tmp_path: Path, locale: str
) -> None:
    env = latin_1(tmp_path) if locale != "C" else {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    picture = samples.picture(1)
    faults.route("/%E5%9B%BE.jpg", f.ok(picture))
    url = faults.url("/图.jpg")
    args = ("--name", "名{index}{ext}", "-H", "X-Note: Ü", "-A", "Ä", "--referer", url, "-o", "out", url)
    done = gdl(*args, env=env)
    assert (done.returncode, done.stderr.count("warning")) == (0, 0), done.stderr
    assert (tmp_path / "out" / "名1.jpg").read_bytes() == picture
    [request] = faults.requests
    sent = [(request.header(name) or "").encode("latin-1").decode() for name in ("X-Note", "User-Agent", "Referer")]
    assert sent == ["Ü", "Ä", faults.url("/%E5%9B%BE.jpg")]


def test_arguments_in_the_letters_of_the_locale_are_understood_too(faults: f.FaultServer, tmp_path: Path) -> None:
    faults.route("/%C3%BC.jpg", f.ok(samples.picture(1)))
    args: list[str | bytes] = [*command(["-o", "out"]), faults.url("/").encode() + b"\xfc.jpg"]
    env = environment(tmp_path, latin_1(tmp_path))
    done = subprocess.run(args, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "ü.jpg").exists()
