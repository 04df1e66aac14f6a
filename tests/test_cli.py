"""The command line as a process and as a parser: help, version, values, and what is wrong with a call."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click
import pytest
from support import faults as f
from support.cli import command, environment, run_gdl
from support.samples import picture

from downloader import cli
from downloader._version import __version__
from downloader.console import Display, ExitCode
from downloader.options import MEDIA, Options

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed, RunGdl

BODY = picture(1, 5000)
URL = "http://127.0.0.1:1/a.jpg"


def parse(*arguments: str) -> tuple[tuple[str, ...], Options, dict[str, Any]]:
    """What the parser makes of the arguments, with one source behind them."""
    parsed = cli._parse.main([*arguments, URL], prog_name="gdl", standalone_mode=False)
    assert isinstance(parsed, tuple)
    return parsed


def flags() -> list[click.Option]:
    return [parameter for parameter in cli._parse.params if isinstance(parameter, click.Option)]


# Help and version


@pytest.mark.parametrize("columns", ["80", "200", None])
def test_help_shows_every_option_under_its_topic_and_fits_a_terminal(gdl: RunGdl, columns: str | None) -> None:
    done = gdl("--help", env={} if columns is None else {"COLUMNS": columns})
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    topic = None
    shown: dict[str, str | None] = {}
    for line in lines:
        if heading := re.fullmatch(r"([A-Z][A-Za-z ]+):", line):
            topic = heading[1]
        elif line.startswith("  -"):
            for name in re.findall(r"(?<![\w-])--?[a-z][a-z-]*|-[A-Z]\b", line.split("  ")[1]):
                shown[name] = topic
    for flag in flags():
        assert flag.help, flag.name
        for name in flag.opts:
            assert name in shown, name
            assert shown[name] == getattr(flag, "topic", shown[name])
    assert len({getattr(flag, "topic", None) for flag in flags()}) >= 5
    assert gdl("-h").stdout == gdl("--help").stdout


def test_help_tells_every_exit_code_and_gives_examples(gdl: RunGdl) -> None:
    text = gdl("--help").stdout
    told = " ".join(text.split())
    for code in ExitCode:
        assert code is ExitCode.SIGHUP or re.search(rf"\b{code.value}\b", told), code
    for example in ("gdl urls.txt -o", "cat urls.txt | gdl", "0 3 * * *"):
        assert example in text


def test_version_is_one_line(gdl: RunGdl) -> None:
    done = gdl("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gdl {__version__}\n", "")


# Values


def test_without_flags_the_options_are_the_defaults() -> None:
    sources, options, display = parse()
    assert sources == (URL,)
    assert options == Options()
    assert Display(**display) == Display()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "pics"], {"output": "pics"}),
        (["--output=pics"], {"output": "pics"}),
        (["-j", "3", "--per-host", "2"], {"jobs": 3, "per_host": 2}),
        (["-j3"], {"jobs": 3}),
        ([], {"split": "auto"}),
        (["--split", "AUTO"], {"split": "auto"}),
        (["--split", "4"], {"split": 4}),
        (["--retries", "0"], {"retries": 0}),
        (["--timeout", "2.5"], {"timeout": 2.5}),
        (["--timeout", "10m", "--max-time", "2h"], {"timeout": 600.0, "max_time": 7200.0}),
        (["--max-time", "90s"], {"max_time": 90.0}),
        (["--min-size", "500"], {"min_size": 500}),
        (["--min-size", "10k", "--max-size", "1.5M"], {"min_size": 10_000, "max_size": 1_500_000}),
        (["--max-size", "2Mi"], {"max_size": 2 << 20}),
        (["--max-size", "4 KiB"], {"max_size": 4096}),
        (["--max-size", "1.5gb"], {"max_size": 1_500_000_000}),
        (["--max-size", "3T"], {"max_size": 3 * 10**12}),
        (["--existing", "rename"], {"existing": "rename"}),
        (["--accept", "image/*"], {"accept": ("image/*",)}),
        (["--accept", " Image/PNG , video/*,"], {"accept": ("image/png", "video/*")}),
        (["-H", "A: 1", "--header", "B:2 : 3"], {"headers": (("A", "1"), ("B", "2 : 3"))}),
        (["-H", "Empty:"], {"headers": (("Empty", ""),)}),
        (["-A", "me/1.0", "--referer", "http://r/"], {"user_agent": "me/1.0", "referer": "http://r/"}),
        (["--proxy", ""], {"proxy": ""}),
        (["--proxy", "socks5h://p:1080"], {"proxy": "socks5h://p:1080"}),
        (["-k", "--netrc", "--dry-run"], {"insecure": True, "netrc": True, "dry_run": True}),
        (["--http-version", "1.1"], {"http_version": "1.1"}),
        (["--name", "{index:06d}{ext}"], {"name": "{index:06d}{ext}"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_become_options(arguments: list[str], expected: dict[str, Any]) -> None:
    _, options, _ = parse(*arguments)
    assert options == dataclasses.replace(Options(), **expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-q"], {"quiet": True}),
        (["-v"], {"verbose": True}),
        (["--progress", "none", "--json"], {"progress": "none", "as_json": True}),
        (["--failed", "f.txt", "--log-file", "l.txt"], {"failed": "f.txt", "log_file": "l.txt"}),
    ],
)
def test_other_flags_become_the_display(arguments: list[str], expected: dict[str, Any]) -> None:
    _, options, display = parse(*arguments)
    assert options == Options()
    assert Display(**display) == Display(**expected)


def test_every_option_and_every_part_of_the_display_has_a_flag() -> None:
    names = {flag.name for flag in flags()}
    wanted = {field.name for field in (*dataclasses.fields(Options), *dataclasses.fields(Display))}
    assert wanted <= names
    assert Options().accept == MEDIA


# What is wrong with a call

WRONG = [
    (["--nonsense", URL], "--nonsense"),
    (["nowhere.txt"], "nowhere.txt"),
    (["."], "folder"),
    ([""], "empty"),
    (["-", "-"], "twice"),
    (["-j", "many", URL], "--jobs"),
    (["-j", "0", URL], "--jobs"),
    (["--split", "some", URL], "--split"),
    (["--split", "0", URL], "--split"),
    (["-j", "99999999999999999999", URL], "--jobs"),
    (["--per-host", "0", URL], "--per-host"),
    (["--retries", "-1", URL], "--retries"),
    (["--timeout", "0", URL], "--timeout"),
    (["--timeout", "5x", URL], "--timeout"),
    (["--timeout", "nan", URL], "--timeout"),
    (["--max-time", "-1", URL], "--max-time"),
    (["--max-size", "1Q", URL], "--max-size"),
    (["--min-size", "-5", URL], "--min-size"),
    (["--min-size", "5", "--max-size", "4", URL], "--min-size"),
    (["--existing", "maybe", URL], "--existing"),
    (["--name", "{foo}", URL], "{foo}"),
    (["--accept", "image", URL], "--accept"),
    (["-H", "no colon", URL], "--header"),
    (["-H", "Bad Name: x", URL], "--header"),
    (["-H", "X: a\nb", URL], "--header"),
    (["--cookies", "nowhere.txt", URL], "--cookies"),
    (["--cookies", "bad-cookies.txt", URL], "bad-cookies.txt:1"),
    (["--cacert", "nowhere.pem", URL], "--cacert"),
    (["--cacert", "bad-cookies.txt", URL], "--cacert"),
    (["--retries", "0", "--proxy", "gopher://me:s3cret@p:70", URL], "--proxy"),
    (["--http-version", "7", URL], "--http-version"),
    (["--progress", "fancy", URL], "--progress"),
    (["-q", "-v", URL], "--quiet"),
    (["--failed", "nowhere/f.txt", URL], "--failed"),
    (["--log-file", "nowhere/l.txt", URL], "--log-file"),
    (["--output"], "--output"),
]


@pytest.fixture(scope="module")
def wrong_calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Completed]]:
    """What came of all the wrong calls, made a few at a time."""

    def call(arguments: list[str]) -> tuple[str, tuple[Path, Completed]]:
        folder = tmp_path_factory.mktemp("call")
        (folder / "bad-cookies.txt").write_text("no cookie\n")
        return str(arguments), (folder, run_gdl(*arguments, cwd=folder, timeout=60))

    with ThreadPoolExecutor(4) as pool:
        return dict(pool.map(call, [arguments for arguments, _ in WRONG]))


@pytest.mark.parametrize(
    ("arguments", "named"), WRONG, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    wrong_calls: dict[str, tuple[Path, Completed]], arguments: list[str], named: str
) -> None:
    folder, done = wrong_calls[str(arguments)]
    assert done.returncode == ExitCode.USAGE, done.stderr[-500:]
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2, done.stderr[-500:]
    assert lines[0].startswith("gdl: ")
    assert named in lines[0]
    assert "s3cret" not in done.stderr
    assert sorted(os.listdir(folder)) == ["bad-cookies.txt"], "nothing was started"


def test_without_a_source_and_a_pipe_gdl_says_what_to_give(tmp_path: Path) -> None:
    ours, its = os.openpty()
    try:
        done = subprocess.run(
            command(()),
            check=False,
            stdin=its,
            capture_output=True,
            text=True,
            env=environment(tmp_path),
            cwd=tmp_path,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(its)
    assert done.returncode == ExitCode.USAGE
    assert "give a list file, a URL, or -" in done.stderr
    assert done.stdout == ""


# Sources


def test_lists_come_from_standard_input_with_and_without_a_dash(
    gdl: RunGdl, faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.otherwise(f.ok(BODY))
    for number, arguments in enumerate(([], ["-"])):
        name = f"{number}.jpg"
        done = gdl("--json", *arguments, stdin=f"# a list\n\n{faults.url('/x')} {name}\r\n")
        assert done.returncode == 0
        (result,) = done.results
        assert (result["source"], result["line"], result["path"]) == ("-", 3, name)
        assert (tmp_path / name).read_bytes() == BODY


def test_several_sources_are_one_run(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    faults.otherwise(f.ok(BODY))
    (tmp_path / "one.txt").write_text(f"{faults.url('/1.jpg')}\n{faults.url('/2.jpg')}\n")
    (tmp_path / "two.jsonl").write_text(f'{{"url": "{faults.url("/3.jpg")}", "id": 3}}\n')
    arguments = ("one.txt", faults.url("/4.jpg"), "two.jsonl", "-", faults.url("/1.jpg"))
    done = gdl("--json", "-o", "out", "--name", "{index:02d}-{name}", *arguments, stdin=faults.url("/5.jpg"))
    assert done.returncode == 0
    places = sorted((result["source"], result["line"], result["status"]) for result in done.results)
    assert places == [
        ("-", 1, "saved"),
        ("argument", 0, "saved"),
        ("argument", 0, "skipped"),
        ("one.txt", 1, "saved"),
        ("one.txt", 2, "saved"),
        ("two.jsonl", 1, "saved"),
    ]
    assert sorted(os.listdir(tmp_path / "out")) == ["01-1.jpg", "02-2.jpg", "03-4.jpg", "04-3.jpg", "05-5.jpg"]


def test_an_empty_list_is_nothing_to_download(gdl: RunGdl, tmp_path: Path) -> None:
    done = gdl("-o", "out", stdin="# nothing\n\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to download" in done.stderr
    assert not (tmp_path / "out").exists()


# JSON Lines

KEYS = ["url", "final_url", "status", "reason", "path", "bytes", "sha256", "checksum", "content_type", "http_status"]
KEYS += ["attempts", "elapsed", "error", "source", "line", "extra"]


def test_json_results_have_exactly_the_promised_keys(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    (tmp_path / "there.jpg").write_bytes(b"mine")
    good = faults.route("/a.jpg", f.ok(BODY))
    (tmp_path / "urls.jsonl").write_text(
        f'{{"url": "{good}", "id": 7}}\n'
        f'{{"url": "{faults.url("/gone.jpg")}"}}\n'
        f'{{"url": "{faults.url("/there.jpg")}"}}\n'
        "{broken\n"
    )
    done = gdl("--json", "urls.jsonl")
    assert done.returncode == ExitCode.FAILED
    results = {result["line"]: result for result in done.results}
    assert sorted(results) == [1, 2, 3, 4]
    for result in results.values():
        assert list(result) == KEYS
        assert result["source"] == "urls.jsonl"
        assert isinstance(result["elapsed"], float)
        assert (result["error"] is not None) == (result["status"] == "failed")
    saved, gone, there, broken = (results[line] for line in (1, 2, 3, 4))
    assert (saved["status"], saved["url"], saved["final_url"], saved["reason"]) == ("saved", good, good, None)
    assert (saved["path"], saved["bytes"], saved["content_type"]) == ("a.jpg", len(BODY), "image/jpeg")
    assert (saved["http_status"], saved["attempts"], saved["extra"]) == (200, 1, {"id": 7})
    assert set(gone["error"]) == {"kind", "message"}
    assert (gone["error"]["kind"], gone["http_status"], gone["path"]) == ("http", 404, None)
    assert (there["status"], there["reason"], there["attempts"]) == ("skipped", "exists", 0)
    assert broken["error"]["kind"] == "input"
    assert broken["error"]["message"].startswith("urls.jsonl:4: ")
    assert broken["url"] is None


# Dry runs


def test_a_dry_run_writes_nothing_at_all(gdl: RunGdl, faults: f.FaultServer, tmp_path: Path) -> None:
    faults.otherwise(f.ok(BODY))
    before = sorted(os.listdir(tmp_path))
    done = gdl("--dry-run", "--json", "-v", "-o", "out", faults.url("/a.jpg"), faults.url("/get"))
    assert done.returncode == 0
    assert {(result["status"], result["reason"]) for result in done.results} == {("skipped", "dry run")}
    assert sorted(result["path"] for result in done.results) == ["out/a.jpg", "out/get.jpg"]
    assert sorted(os.listdir(tmp_path)) == before
