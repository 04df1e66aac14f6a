"""Every error has its own kind, survives pickling with all it knows, and stands where the docstring's tree says."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from downloader import errors


def descendants(cls: type[errors.GdlError]) -> list[type[errors.GdlError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in descendants(child))]


EVERY = [cls for cls in descendants(errors.GdlError) if cls.__module__ == errors.__name__]
RETRYABLE = {"connection", "timeout", "body", "lost"}


@pytest.mark.parametrize("cls", EVERY)
def test_an_error_crosses_processes_with_its_attributes(cls: type[errors.GdlError]) -> None:
    error = cls("what happened: é")
    error.retryable = True  # type: ignore[attr-defined]
    error.retry_after = 7.5  # type: ignore[attr-defined]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 our own bytes
        assert type(back) is cls
        assert str(back) == "what happened: é"
        assert vars(back) == vars(error)
    assert vars(copy.copy(error)) == vars(error)


def test_a_status_error_keeps_its_status() -> None:
    error = pickle.loads(pickle.dumps(errors.StatusError("HTTP 404 Not Found", status=404)))  # noqa: S301
    assert error.status == 404


def test_kinds_are_unique_and_fit_for_scripts() -> None:
    classes = [cls for cls in EVERY if cls is not errors.NotConnected]  # to the user like any broken connection
    kinds = [cls.kind for cls in classes]
    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in kinds)
    assert all("kind" in vars(cls) for cls in classes), "a kind of one's own, not the parent's"


@pytest.mark.parametrize("cls", [cls for cls in EVERY if issubclass(cls, errors.ItemError)])
def test_only_what_may_pass_says_that_a_retry_may_help(cls: type[errors.ItemError]) -> None:
    assert cls("x").retryable == (cls.kind in RETRYABLE)
    assert cls("x").retry_after is None


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    parents: dict[int, str] = {}
    found = {}
    for match in re.finditer(r"^    ([│├└─ ]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE):
        depth, name = len(match[1]) // 4, match[2]
        parents[depth] = name
        found[name] = parents.get(depth - 1, "Exception")
    assert found == {cls.__name__: cls.__mro__[1].__name__ for cls in EVERY}
