"""JSON Lines, the list of what failed and the log file: what a run leaves for programs and for later."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors
from downloader.items import Address, Item, Result
from downloader.records import FailedList, Json, LogFile, as_json

if TYPE_CHECKING:
    from pathlib import Path

ITEM = Item(Address("https://h/a.jpg"), source="urls.txt", line=12)
PAGE = errors.NotMedia('server sent an HTML page, 2.1 kB, titled "Sign in"')
HOSTILE = "a\x1b]0;owned\x07\r\nb\x9b2J\u202ec\udc80"


def saved(**changes: Any) -> Result:
    fields: dict[str, Any] = {"url": "https://h/cat.jpg", "status": "saved", "path": "pics/cat.jpg"}
    return Result(**fields | {"bytes": 21_034} | changes)


def failed(error: errors.ItemError = PAGE, **changes: Any) -> Result:
    fields: dict[str, Any] = {"url": "https://h/a.jpg", "status": "failed", "reason": str(error), "error": error}
    return Result(**fields | {"source": "urls.txt", "line": 12, "text": b"https://me:pw@h/a.jpg"} | changes)


def skipped(reason: str = "exists") -> Result:
    return Result(url="https://h/b.jpg", status="skipped", reason=reason, path="b.jpg")


# JSON Lines.

KEYS = (
    "url final_url status reason path bytes sha256 checksum content_type http_status attempts elapsed error "
    "source line extra"
)


def test_json_has_the_promised_keys_in_order() -> None:
    result = failed(elapsed=1.23456, attempts=2, extra={"tag": "猫"})
    made = json.loads(as_json(result))
    assert list(made) == KEYS.split()
    assert made["error"] == {"kind": "not-media", "message": str(PAGE)}
    assert made["elapsed"] == 1.235
    assert made["extra"] == {"tag": "猫"}
    assert "猫".encode() in as_json(result)
    assert json.loads(as_json(saved()))["error"] is None


def test_json_never_shows_the_input_line() -> None:
    assert b"me:pw" not in as_json(failed())


def test_json_keeps_bytes_of_a_path_that_are_not_utf8() -> None:
    path = os.fsdecode(b"pics/\xff\xfe.jpg")
    line = as_json(saved(path=path))
    assert json.loads(line.decode())["path"] == path
    assert os.fsencode(json.loads(line.decode())["path"]) == b"pics/\xff\xfe.jpg"


def test_json_escapes_what_drives_a_terminal_and_stays_one_line() -> None:
    line = as_json(saved(path=HOSTILE)).decode()
    assert line[:-1].isprintable()
    assert line.count("\n") == 1
    assert json.loads(line)["path"] == HOSTILE


@pytest.mark.parametrize(
    "text", ["猫\u202e", "猫\x7f", "猫\ud800", "\u202e" * 300_000], ids=["bidi", "delete", "half", "long"]
)
def test_json_that_could_drive_a_terminal_is_ascii_and_says_the_same(text: str) -> None:
    line = as_json(saved(extra={"tag": text}))
    assert line.isascii()
    assert json.loads(line)["extra"] == {"tag": text}


def test_json_has_null_where_a_list_had_no_number() -> None:
    made = json.loads(as_json(saved(extra={"a": [float("nan"), {"b": float("inf")}], "c": 1.5})))
    assert made["extra"] == {"a": [None, {"b": None}], "c": 1.5}


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_json_brings_the_extra_keys_back_as_they_were(extra: dict[str, object]) -> None:
    assert json.loads(as_json(saved(extra=extra)))["extra"] == extra


def test_json_hands_over_one_whole_line_for_each_result() -> None:
    lines: list[bytes] = []
    listener = Json(lines.append)
    for result in (saved(), failed(), skipped()):
        listener.finished(result)
    assert [json.loads(line)["status"] for line in lines] == ["saved", "failed", "skipped"]
    assert all(line.endswith(b"\n") for line in lines)


# The failed list.


def test_the_failed_list_holds_the_input_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    listed = FailedList(str(path))
    for result in (saved(), failed(), skipped(), failed(text=b"https://h/b\n  out=b"), failed(text=b"")):
        listed.finished(result)
    assert listed.close()
    assert not listed.close()
    assert path.read_bytes() == b"https://me:pw@h/a.jpg\nhttps://h/b\n  out=b\nhttps://h/a.jpg\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["failed.txt"]


def test_a_run_without_failures_leaves_an_empty_failed_list(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_bytes(b"old\n")
    FailedList(str(path)).close()
    assert path.read_bytes() == b""


def test_the_old_failed_list_is_there_until_the_run_is_over(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_bytes(b"https://h/a\nhttps://h/b\n")
    listed = FailedList(str(path), sources=[str(path)])
    listed.finished(failed(text=b"https://h/b"))
    assert path.read_bytes() == b"https://h/a\nhttps://h/b\n"
    assert listed.close(exhausted=True)
    assert path.read_bytes() == b"https://h/b\n"


def test_a_stopped_run_keeps_the_lines_it_did_not_read(tmp_path: Path) -> None:
    path, other = tmp_path / "failed.txt", tmp_path / "link"
    path.write_bytes(b"https://h/a\nhttps://h/b\n")
    other.symlink_to(path)
    listed = FailedList(str(path), sources=["-", "https://h/c", str(other)])
    listed.finished(failed(text=b"https://h/a"))
    assert not listed.close(exhausted=False)
    assert path.read_bytes() == b"https://h/a\nhttps://h/b\n"
    assert sorted(os.listdir(tmp_path)) == ["failed.txt", "link"]
    unrelated = FailedList(str(path), sources=["urls.txt"])
    assert unrelated.close(exhausted=False)


def test_a_run_that_breaks_off_closes_its_failed_list_and_log(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_bytes(b"https://h/a\n")
    with (
        pytest.raises(KeyboardInterrupt),
        FailedList(str(path), sources=[str(path)]),
        LogFile(str(tmp_path / "log")) as log,
    ):
        raise KeyboardInterrupt
    log.noted("too late")
    assert path.read_bytes() == b"https://h/a\n"
    assert sorted(os.listdir(tmp_path)) == ["failed.txt", "log"]
    assert (tmp_path / "log").read_bytes() == b""


def test_a_list_is_no_log(tmp_path: Path) -> None:
    path, link = tmp_path / "urls.txt", tmp_path / "link"
    path.write_bytes(b"no URL\n")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(errors.UsageError, match="is a list that is to be read"):
            LogFile(str(name), sources=["-", str(path)])
    assert path.read_bytes() == b"no URL\n"
    LogFile(str(tmp_path / "log"), sources=["-", str(path)]).close()


def test_a_failed_list_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    path, link = tmp_path / "failed.txt", tmp_path / "link"
    link.symlink_to(path)
    FailedList(str(link)).close()
    assert link.is_symlink()
    assert path.is_file()


def test_a_failed_list_may_be_a_pipe() -> None:
    reading, writing = os.pipe()
    listed = FailedList(f"/dev/fd/{writing}")
    listed.finished(failed())
    listed.close()
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"https://me:pw@h/a.jpg\n"


@pytest.mark.parametrize("made", [FailedList, LogFile])
def test_a_place_that_cannot_be_written_is_known_at_the_start(tmp_path: Path, made: type[FailedList | LogFile]) -> None:
    for path in (tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(errors.UsageError, match=r"^--(failed|log-file): cannot write .*: (Is a|No such)"):
            made(str(path))


@pytest.mark.parametrize("made", [FailedList, LogFile])
def test_a_full_disk_costs_the_list_or_log_and_is_told_at_the_end(made: type[FailedList | LogFile]) -> None:
    listener = made("/dev/full")
    for _ in range(3):
        listener.finished(failed())
    with pytest.raises(errors.StopRun, match="No space left"):
        listener.close()
    listener.close()


# The log.


def test_the_log_has_every_event_with_time_and_level(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    log = LogFile(str(path))
    for result in (saved(elapsed=1.5), failed(), skipped()):
        log.finished(result)
    log.retrying(ITEM, errors.ConnectError("connection refused"), 2.0, 1)
    log.noted("a note")
    log.warned("a warning")
    first, *lines = path.read_text().splitlines()
    log.close()
    log.close()
    log.noted("too late")
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d ")
    assert first == "before"
    assert all(stamp.match(line) for line in lines)
    assert [stamp.sub("", line) for line in lines] == [
        "INFO saved pics/cat.jpg 21.0 kB in 1.5 s from https://h/cat.jpg",
        f"ERROR failed [not-media] https://h/a.jpg: {PAGE} (urls.txt:12)",
        "INFO skipped [exists] https://h/b.jpg b.jpg",
        "WARNING attempt 1 failed [connection] https://h/a.jpg: connection refused; again in 2 s",
        "INFO a note",
        "WARNING a warning",
    ]


def test_nothing_can_forge_a_line_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path))
    for result in (saved(path=HOSTILE), failed(errors.NotMedia(HOSTILE), url=HOSTILE), skipped(HOSTILE)):
        log.finished(result)
    log.noted(HOSTILE)
    log.close()
    lines = path.read_bytes().decode().splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert b"me:pw" not in path.read_bytes()
