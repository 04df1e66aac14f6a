"""Which calls leave white space, digits and case to Unicode: none on text that strangers sent.

``str.strip()`` takes U+00A0 and U+0085 away, which in bytes decoded as latin-1 are the ends of letters such as ``à``;
``\\s`` and ``\\d`` match more than HTTP and URLs know; without regard to case ``K`` (Kelvin) is a ``k``.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from support.cli import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = REPOSITORY / "downloader"
MODULES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

BLANK = {"strip", "lstrip", "rstrip", "split", "rsplit"}
"""Methods that mean white space where they are not told what else."""
CLASSES = {"isdigit", "isdecimal", "isnumeric", "isspace", "isalnum", "isalpha", "splitlines", "casefold"}
PATTERN = re.compile(r"(?<!\\)(?:\\\\)*\\[sSdDwWbB]|\(\?[a-z]*i")

EXCEPTIONS = {
    "cli": {"strip", "re"},  # the user's own command line
    "containers": {"split"},  # a table of our own
    "demo/__main__": {"rstrip", "splitlines"},  # the listing of a folder that the demo made
    "files": {"strip"},  # what the kernel says
    "lines": {"strip"},  # of bytes, whose white space is ASCII's; decoding comes later
    "markup": {"split", "rstrip"},  # a title on its way to a message, decoded: there it is people's white space
    "mediatypes": {"split"},  # tables of our own
    "pictures": {"isalpha"},  # of bytes: ASCII's letters
    "safenames": {"re"},  # file systems fold case as Unicode does
    "transport/lookups": {"isdigit"},  # of a host's name, which is ASCII by then
    "transport/translation": {"re", "strip"},  # libcurl's sentences
    "troubles": {"re"},  # likewise
}


def found_in(source: str) -> Iterator[tuple[int, str]]:
    """Line and kind of each call that leaves white space, digits or case to Unicode.

    What says ``isascii`` in the same function has thought of it.
    """
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    careful = {id(node) for function in functions if "isascii" in ast.unparse(function) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        if name in BLANK:
            found = not node.args or ast.unparse(node.args[0]) == "None"
        elif name in CLASSES:
            found = id(node) not in careful
        else:
            found = ast.unparse(node.func.value) == "re" and is_unicode(node)
            name = "re"
        if found:
            yield node.lineno, name


def is_unicode(call: ast.Call) -> bool:
    """Whether a call of the module ``re`` leaves to Unicode what its pattern matches."""
    pattern, *rest = call.args
    flags = " ".join(map(ast.unparse, (*rest, *(keyword.value for keyword in call.keywords))))
    constants = [node.value for node in ast.walk(pattern) if isinstance(node, ast.Constant)]
    if any(isinstance(value, bytes) for value in constants) or "ASCII" in flags:
        return False
    return "IGNORECASE" in flags or any(PATTERN.search(value) for value in constants if isinstance(value, str))


@pytest.mark.parametrize("module", MODULES)
def test_white_space_digits_and_case_are_those_of_ascii(module: str) -> None:
    found = list(found_in(MODULES[module].read_text("utf-8")))
    allowed = EXCEPTIONS.get(module, set())
    wrong = [f"downloader/{module}.py:{line}: {kind}" for line, kind in found if kind not in allowed]
    assert wrong == [], "say which: strip(BLANKS), [0-9], re.ASCII; or name the exception in tests/test_house_text.py"
    assert {kind for _, kind in found} == allowed, f"an exception of {module} is not needed any more"


def test_such_calls_are_found_and_the_careful_ones_let_be() -> None:
    source = r"""
text.strip()
text.strip(" ")
text.split(None, 2)
text.split(",")
text.isdigit()
def careful(text):
    return text.isascii() and text.isdecimal()
re.compile(r"\s+")
re.compile(r"\\s+")
re.compile(rb"\s+", re.IGNORECASE)
re.compile(r"\s+", re.DOTALL | re.ASCII)
re.sub("[a-z]", "", text, flags=re.IGNORECASE)
re.compile(rf"x{y}(?i:z)")
"""
    assert sorted(found_in(source)) == [
        (2, "strip"), (4, "split"), (6, "isdigit"), (9, "re"), (13, "re"), (14, "re"),
    ]  # fmt: skip
