"""Options are checked when they are made, name what is wrong, never change and never show secrets."""

from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from downloader.errors import UsageError
from downloader.options import MEDIA, Options

if TYPE_CHECKING:
    from pathlib import Path

NAN = float("nan")
INFINITE = float("inf")


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"jobs": 0}, "--jobs"),
        ({"jobs": -1}, "--jobs"),
        ({"per_host": 0}, "--per-host"),
        ({"retries": -1}, "--retries"),
        ({"timeout": 0}, "--timeout"),
        ({"timeout": -1.0}, "--timeout"),
        ({"timeout": NAN}, "--timeout"),
        ({"timeout": INFINITE}, "--timeout"),
        ({"max_time": 0.0}, "--max-time"),
        ({"max_time": NAN}, "--max-time"),
        ({"limit_rate": 0}, "--limit-rate"),
        ({"limit_rate": -1}, "--limit-rate"),
        ({"min_size": 2, "max_size": 1}, "--min-size"),
        ({"accept": ("image",)}, "--accept"),
        ({"accept": ("image/*", "a/b/c")}, "--accept"),
        ({"accept": ("image/*; q=1",)}, "--accept"),
        ({"cookies": "/nowhere/cookies.txt"}, "--cookies"),
        ({"cacert": "/nowhere/ca.pem"}, "--cacert"),
        ({"existing": "sometimes"}, "--existing"),
        ({"http_version": "7"}, "--http-version"),
        ({"jobs": 10**20}, "--jobs"),
        ({"split": 0}, "--split"),
        ({"split": "some"}, "--split"),
        ({"proxy": "gopher://proxy:70"}, "--proxy"),
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused_by_its_options_name(settings: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option}"):
        Options(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"jobs": 1, "per_host": 1, "retries": 0},
        {"timeout": 0.001, "max_time": 1e9},
        {"limit_rate": 1},
        {"min_size": 0, "max_size": 0},
        {"accept": ("*/*",)},
        {"accept": ("image/svg+xml", "video/*")},
        {"proxy": ""},
    ],
    ids=str,
)
def test_a_value_at_its_bound_is_taken(settings: dict[str, Any]) -> None:
    options = Options(**settings)
    for name, value in settings.items():
        assert getattr(options, name) == value


def test_media_is_what_is_accepted_by_default() -> None:
    assert Options().accept == MEDIA == ("image/*", "video/*", "audio/*")


def test_options_do_not_change() -> None:
    options = Options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.jobs = 3  # type: ignore[misc]


def test_options_compare_by_value_and_survive_pickling(tmp_path: Path) -> None:
    options = Options(output=str(tmp_path), headers=(("A", "1"),))
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 our own bytes
    assert options != Options()


def test_secrets_do_not_show() -> None:
    options = Options(headers=(("Authorization", "s3cret"),), proxy="http://me:s3cret@proxy:3128")
    assert "s3cret" not in repr(options)
    assert "s3cret" not in str(options)


def test_every_setting_has_a_default_and_is_given_by_name() -> None:
    with pytest.raises(TypeError):
        Options("folder")  # type: ignore[call-arg]
    for field in dataclasses.fields(Options):
        assert field.kw_only
        assert getattr(Options(), field.name) == field.default
