"""The demo: its server by itself, its checks as functions, and the whole as a user runs it."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from support.cli import environment

from downloader import media
from downloader.demo.__main__ import differences, fresh_folder, read_folder
from downloader.demo.server import EXHIBITS, SIGN_IN, DemoServer, Exhibit, media_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAVED = {
    "julia.jpg": "julia.jpg",
    "rule30.png": "rule30.png",
    "life.gif": "life.gif",
    "waves.svg": "waves.svg",
    "arpeggio.mp3": "arpeggio.mp3",
    "zoom.mp4": "zoom.mp4",
    "aurora.webp": "aurora.webp",
    "山水.png": "mountains.png",
    "1042.avif": "dunes.avif",
    "cover.jpg": "ripples.jpg",
    "cover~0123abcd.jpg": "seahorses.jpg",
}
"""What a run leaves, and which media file each should be."""


@pytest.fixture
def site() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
def saved() -> dict[str, bytes]:
    return {name: media_bytes(source) for name, source in SAVED.items()}


def _get(url: str) -> tuple[int, dict[str, str], bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("exhibit", [exhibit for exhibit in EXHIBITS if not exhibit.failures], ids=lambda e: e.path)
def test_each_url_serves_its_bytes(site: DemoServer, exhibit: Exhibit) -> None:
    started = time.monotonic()
    status, headers, body = _get(site.url + exhibit.path)
    assert (status, headers["Content-Type"], body) == (200, exhibit.media_type, exhibit.body())
    assert headers.get("Content-Disposition") == exhibit.disposition
    assert time.monotonic() - started >= 0.9 * exhibit.seconds


@pytest.mark.parametrize("exhibit", [exhibit for exhibit in EXHIBITS if exhibit.media], ids=lambda e: e.path)
def test_the_media_are_what_they_are_called(exhibit: Exhibit) -> None:
    assert media.sniff(exhibit.body()).type == exhibit.media_type


def test_a_busy_url_fails_twice_and_then_works(site: DemoServer) -> None:
    answers = [_get(site.url + "/busy/aurora.webp") for _ in range(4)]
    assert [status for status, _, _ in answers] == [503, 503, 200, 200]
    assert [headers.get("Retry-After") for _, headers, _ in answers] == ["1", "1", None, None]


def test_an_unknown_path_is_not_found(site: DemoServer) -> None:
    assert _get(site.url + "/nothing.jpg")[0] == 404


def test_the_page_says_what_it_is() -> None:
    assert media.sniff(SIGN_IN).kind == "html"
    assert media.title(SIGN_IN) == "Sign in"


def test_connections_are_kept_alive(site: DemoServer) -> None:
    connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=20)
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/pictures/rule30.png")
        assert connection.getresponse().read() == media_bytes("rule30.png")
        assert connection.sock is socket
    connection.close()


def test_a_stopped_server_answers_no_more() -> None:
    with DemoServer() as server:
        address = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=5)
    with pytest.raises(OSError):  # noqa: PT011 - refused on most systems, reset on some
        connection.request("GET", "/")


def test_the_list_names_every_url_once(site: DemoServer) -> None:
    lines = [line for line in site.urls_txt().splitlines() if line and not line.startswith("#")]
    assert lines == [site.url + exhibit.path for exhibit in EXHIBITS]


def test_nothing_differs_when_all_is_well(saved: dict[str, bytes]) -> None:
    assert differences(saved) == []


@pytest.mark.parametrize("name", SAVED)
def test_a_missing_a_wrong_and_a_renamed_file_are_noticed(saved: dict[str, bytes], name: str) -> None:
    content = saved.pop(name)
    assert len(differences(saved)) == 1
    assert len(differences({**saved, name: content[:-1]})) == 1
    assert len(differences({**saved, name + ".part": content})) == 2


def test_a_saved_page_is_noticed(saved: dict[str, bytes]) -> None:
    assert differences({**saved, "portrait.jpg": SIGN_IN}) == ["portrait.jpg: should not be there"]


def test_a_folder_in_use_gets_a_new_sub_folder(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert fresh_folder(str(output)) == str(output)
    output.mkdir()
    assert fresh_folder(str(output)) == str(output)
    (output / "mine.txt").touch()
    assert fresh_folder(str(output)) == str(output / "run-2")
    (output / "run-2").mkdir()
    assert fresh_folder(str(output)) == str(output / "run-3")


def _run_demo(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "downloader.demo", *arguments],
        cwd=folder,
        env=environment(folder, env),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_the_demo_goes_as_it_promises_and_a_second_one_too(tmp_path: Path) -> None:
    first = _run_demo(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert differences(read_folder(str(tmp_path / "demo-output"))) == []
    assert f'server sent an HTML page, {len(SIGN_IN)} B, titled "Sign in"' in first.stderr
    assert "exit code 1" in first.stdout
    assert "山水.png" in first.stdout

    second = _run_demo(tmp_path, http_proxy="http://127.0.0.1:9")
    assert second.returncode == 0, second.stdout + second.stderr
    assert differences(read_folder(str(tmp_path / "demo-output" / "run-2"))) == []


def test_a_demo_that_cannot_save_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = _run_demo(tmp_path, "file/inside")
    assert failed.returncode != 0
    assert "exit code 1, because one" not in failed.stdout
