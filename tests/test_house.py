"""The rules of the house that a machine can check: who imports whom, what is caught where, how long a module is."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest
from support.cli import REPOSITORY, environment

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = REPOSITORY / "downloader"
MOST_LINES = 350

# Each layer imports from the layers above it in this list, or from its own without going in circles.
LAYERS = (
    {"_version", "errors", "text", "grammar", "hashes", "turns"},
    {"items"},
    {"options"},
    {"urls", "addresses", "limits", "health", "disposition", "media", "mediatypes", "markup", "probes", "signatures"}
    | {"endings", "blocks", "audio", "boxes", "containers", "pictures"},
    {"safenames", "templates", "naming", "sources", "entries", "lines"},
    {"hosts"},
    {"schedule", "tail", "troubles", "outcomes", "retry", "encodings", "tries", "spans", "segments", "resume", "files"}
    | {
        "disk",
        "folders",
        "placing",
        "outputfolder",
        "sharing",
        "bytelocks",
        "takeover",
        "verdict",
        "cookies",
        "claims",
        "descriptors",
        "partfile",
        "statefile",
        "leftovers",
        "locks",
        "doubt",
        "framing",
        "request",
        "responses",
        "results",
        "trust",
        "writeback",
    },
    {"transport", "alarm"},
    {"context"},
    {"digests", "bodies", "fetch", "assembly", "destination"},
    {"receiver", "slots", "slot"},
    {"transfer"},
    {"certainty"},
    {"attempts"},
    {"engine"},
    {"api"},
    {"progress", "report", "records", "console", "streams", "outlet", "signals"},
    {"cli"},
    {"__main__", "demo"},
)
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# Listeners hear of a run; they know nothing of what makes it.
LISTENERS = {"progress", "report", "records"}
MACHINERY = {"transport", "fetch", "assembly", "destination", "receiver", "transfer", "certainty", "slots", "slot"}
MACHINERY |= {"attempts", "engine", "api"}

DECISIONS = RANK.keys() & {
    "errors",
    "text",
    "grammar",
    "items",
    "options",
    "hosts",
    "schedule",
    "tail",
    "troubles",
    "outcomes",
    "retry",
    "encodings",
    "verdict",
    "responses",
    "request",
}
DECISIONS |= {"doubt", "framing"}
DECISIONS |= LAYERS[3] | LAYERS[4] | {"cookies", "results", "spans", "segments", "tries", "resume", "encodings"}
ONLY_IN = {"pycurl": {"transport"}, "tqdm": {"progress"}}


@dataclass(frozen=True)
class Import:
    """One imported module of ours (its name in the package) or of others (its top-level name)."""

    name: str
    ours: bool
    line: int
    lazy: bool
    """Inside a function."""
    for_types: bool
    """Under ``if TYPE_CHECKING``."""


class ImportFinder(ast.NodeVisitor):
    """Collects what a module imports, and under which circumstances."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self._lazy = False
        self._for_types = False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = before

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_If(self, node: ast.If) -> None:
        before = self._for_types
        self._for_types = before or "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body:
            self.visit(child)
        self._for_types = before
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "downloader" + (f".{node.module}" if node.module else "") if node.level else node.module or ""
        if module == "downloader":
            for alias in node.names:
                self._add(
                    f"downloader.{alias.name}" if (PACKAGE / f"{alias.name}.py").exists() else module, node.lineno
                )
        else:
            self._add(module, node.lineno)

    def _add(self, dotted: str, line: int) -> None:
        top, _, rest = dotted.partition(".")
        ours = top == "downloader"
        name = (rest.partition(".")[0] or "__init__") if ours else top
        self.found.append(Import(name, ours, line, self._lazy, self._for_types))


def imports_of(source: str) -> list[Import]:
    finder = ImportFinder()
    finder.visit(ast.parse(source))
    return finder.found


MODULES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {name: imports_of(path.read_text("utf-8")) for name, path in MODULES.items()}
ORDINARY = sorted(set(MODULES) - {"__init__"})


def complaint(module: str, found: Import, why: str) -> str:
    return f"downloader/{module}.py:{found.line}: imports {found.name}, {why}"


def place(module: str) -> str:
    """Where it stands in the table: a sub-package stands there as one."""
    return module.partition("/")[0]


@pytest.mark.parametrize("module", ORDINARY)
def test_every_module_has_its_place(module: str) -> None:
    assert place(module) in RANK, (
        f"downloader/{module}.py is new: add it to LAYERS in tests/test_house.py, where it belongs"
    )


@pytest.mark.parametrize("module", [module for module in ORDINARY if place(module) in RANK])
def test_imports_run_downward_only(module: str) -> None:
    exempt = module in {"errors", "items"}  # the shared types name each other in annotations
    wrong = [
        complaint(module, found, "which is not below it")
        for found in IMPORTS[module]
        if found.ours and not (exempt and found.for_types) and RANK.get(found.name, len(LAYERS)) > RANK[place(module)]
    ]
    assert wrong == []


def test_imports_within_a_layer_make_no_circle() -> None:
    graph = {
        module: {found.name for found in IMPORTS[module] if found.ours and not found.for_types and found.name != module}
        for module in ORDINARY
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(LISTENERS & set(MODULES)))
def test_listeners_import_nothing_that_moves_bytes(module: str) -> None:
    wrong = [
        complaint(module, found, "of which a listener knows nothing")
        for found in IMPORTS[module]
        if found.ours and found.name in MACHINERY and not found.for_types
    ]
    assert wrong == []


@pytest.mark.parametrize("module", sorted(DECISIONS & set(MODULES)))
def test_decisions_import_neither_gevent_nor_pycurl(module: str) -> None:
    wrong = [
        complaint(module, found, "and a decision does no I/O")
        for found in IMPORTS[module]
        if not found.ours and found.name in {"gevent", "greenlet", "pycurl"}
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_one_module_knows_each_of_these_libraries(library: str) -> None:
    wrong = [
        complaint(module, found, f"which only {' and '.join(sorted(ONLY_IN[library]))} may")
        for module in MODULES
        for found in IMPORTS[module]
        if not found.ours and found.name == library and place(module) not in ONLY_IN[library]
    ]
    assert wrong == []


def test_the_package_itself_imports_the_machinery_only_when_it_is_used() -> None:
    wrong = [
        complaint("__init__", found, "at once; do it when it is used")
        for found in IMPORTS.get("__init__", [])
        if not found.lazy
        and not found.for_types
        and (
            found.name in {"gevent", "pycurl", "tqdm", "click"}
            or (found.ours and found.name != "api" and RANK.get(found.name, 0) >= RANK["transport"])
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("statement", ["import downloader", "from downloader import *", "import downloader.api"])
def test_importing_the_library_patches_nothing(statement: str, tmp_path: Path) -> None:
    if statement.endswith("api") and "api" not in MODULES:
        pytest.skip("there is no downloader.api")
    program = f"""
import socket, sys, threading, time
before = socket.socket, socket.create_connection, threading.Lock, time.sleep
{statement}
assert (socket.socket, socket.create_connection, threading.Lock, time.sleep) == before, "rebound"
monkey = sys.modules.get("gevent.monkey")
assert monkey is None or not monkey.saved, sorted(monkey.saved)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_are_short(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, f"downloader/{module}.py has {lines} lines: which second idea is in it?"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"engine"}))
def test_only_the_engine_catches_every_exception(module: str) -> None:
    wrong = [
        f"downloader/{module}.py:{node.lineno}"
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    ]
    assert wrong == []


def catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind) in {"Exception", "builtins.Exception"} for kind in kinds)


def test_imports_are_found_wherever_they_hide() -> None:
    source = """
import gevent.pool as pool, os
from downloader import __version__, errors
from downloader.urls import canonical
if TYPE_CHECKING:
    from downloader.engine import run
else:
    import downloader
def later():
    from .transport import Client
"""
    found = {(one.name, one.ours, one.lazy, one.for_types) for one in imports_of(source)}
    assert found == {
        ("gevent", False, False, False),
        ("os", False, False, False),
        ("__init__", True, False, False),
        ("errors", True, False, False),
        ("urls", True, False, False),
        ("engine", True, False, True),
        ("transport", True, True, False),
    }
