"""The README says what the tool does: its options, exit codes and words, and commands that the command line takes."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import click
import pytest
from support.cli import REPOSITORY, run_gdl

from downloader import cli, errors
from downloader.console import ExitCode
from downloader.items import BadItem, Item
from downloader.options import Options
from downloader.records import as_mapping
from downloader.results import failed
from downloader.sources import count, read

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (REPOSITORY / "README.md").read_text("utf-8")
EXAMPLE = REPOSITORY / "urls.example.txt"
COMMAND = cli._parse
CONTEXT = COMMAND.make_context("gdl", [], resilient_parsing=True)
PARAMETERS = [option for option in COMMAND.get_params(CONTEXT) if isinstance(option, click.Option)]
FLAGS = {flag for option in PARAMETERS for flag in (*option.opts, *option.secondary_opts)}
# In running text and tables a flag is written as code; other tools' flags have no place in the section on options.
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def section(title: str) -> str:
    match = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match is not None, f"the README has no section called {title}"
    return match[1]


def code(text: str) -> str:
    return " ".join(re.findall(r"`([^`]+)`", text))


def first_column(text: str) -> list[str]:
    """The first cells of all tables, without the head."""
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [cell for cell in cells if cell.strip("- ") and cell not in ("Option", "Code", "Key", "Line")]


def blocks(language: str) -> list[str]:
    fenced = re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block[2] for block in fenced if block[1] == language]


def gdl_commands() -> Iterator[list[str]]:
    """The arguments of every gdl in the README's blocks of code, that of crontab included."""
    lines = [line for block in (*blocks("sh"), *blocks("")) for line in block.splitlines()]
    for line in lines:
        for match in re.finditer(r"(?:^|[|*] *)(?:\w+=\S+ )?gdl (?P<arguments>[^|]+)", line):
            yield shlex.split(match["arguments"], comments=True)


COMMANDS = list(gdl_commands())


@pytest.mark.parametrize("option", PARAMETERS, ids=lambda option: max(option.opts, key=len))
def test_each_option_has_its_line_in_the_options_tables(option: click.Option) -> None:
    lines = [set(FLAG.findall(cell)) for cell in first_column(section("Options"))]
    assert set(option.opts) in lines, f"{' '.join(option.opts)} has no line of its own"


def test_the_section_on_options_names_no_flag_that_does_not_exist() -> None:
    assert set(FLAG.findall(code(section("Options")))) - FLAGS == set()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Options)])
def test_each_setting_of_the_library_is_an_option_in_the_readme(field: str) -> None:
    [option] = [option for option in PARAMETERS if option.name == field]
    assert any(f"`{flag}" in section("Options") for flag in option.opts)


def test_defaults_in_the_readme_are_those_of_the_options() -> None:
    told = section("Options")
    options = Options()
    for flag, default in (("--jobs", options.jobs), ("--retries", options.retries), ("--timeout", options.timeout)):
        [line] = [line for line in told.splitlines() if f"`{flag} " in line.partition("|")[2].partition("|")[0]]
        assert f"Default: {default:g}." in line
    assert f"`{','.join(options.accept)}`" in told


@pytest.mark.parametrize("option", PARAMETERS, ids=lambda option: max(option.opts, key=len))
def test_each_choice_of_an_option_is_told(option: click.Option) -> None:
    if isinstance(option.type, click.Choice):
        line = next(line for line in section("Options").splitlines() if f"`{max(option.opts, key=len)}" in line)
        assert [choice for choice in option.type.choices if f"`{choice}`" not in line] == []


def test_exit_codes_are_those_of_the_console() -> None:
    assert [int(cell) for cell in first_column(section("Exit codes"))] == [int(exit_code) for exit_code in ExitCode]


def test_keys_of_json_results_are_those_printed() -> None:
    result = failed(Item(next(_example()).address), errors.InputError("no"))
    told = [key for cell in first_column(section("JSON results")) for key in re.findall(r"`(\w+)`", cell)]
    assert told == list(as_mapping(result))


def test_all_kinds_of_errors_are_told() -> None:
    def below(kind: type[errors.GdlError]) -> set[str]:
        return {kind.kind}.union(*(below(child) for child in kind.__subclasses__()))

    kinds = below(errors.ItemError) | {errors.StopRun.kind}
    told = re.search(r"`error.kind` is one of (.*?)\.$", section("JSON results"), re.MULTILINE | re.DOTALL)
    assert told is not None
    assert set(re.findall(r"`([a-z-]+)`", told[1])) == kinds - {"item"}


def test_commands_are_found_at_all() -> None:
    assert len(COMMANDS) >= 15
    assert ["-q", "~/urls.txt", "-o", "/srv/media"] in COMMANDS


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_in_the_readme_are_understood(arguments: list[str]) -> None:
    context = COMMAND.make_context("gdl", list(arguments))
    settings = {field.name for field in dataclasses.fields(Options)}
    values = {name: value for name, value in context.params.items() if name in settings}
    # Files of the example are not here.
    Options(**{**values, "accept": tuple(values["accept"].split(",")), "cookies": None, "cacert": None})


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: block.splitlines()[0])
def test_blocks_of_shell_parse(block: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("block", blocks("python"))
def test_blocks_of_python_compile(block: str) -> None:
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("target", sorted(set(LINK.findall(README))))
def test_links_within_the_repository_lead_somewhere(target: str) -> None:
    if target.startswith("#"):
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        assert target[1:] in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    elif "://" not in target:
        assert (REPOSITORY / target).exists()


def test_the_picture_is_there_and_shown() -> None:
    assert "](docs/gdl.svg)" in README
    picture = (REPOSITORY / "docs" / "gdl.svg").read_text("utf-8")
    assert picture.startswith("<svg ")
    assert "urls.txt" in picture


def _example() -> Iterator[Item]:
    for item in read([str(EXAMPLE)], warn=pytest.fail):
        assert not isinstance(item, BadItem), item.error
        yield item


def test_the_example_list_has_no_bad_line_and_nothing_twice() -> None:
    items = list(_example())
    assert 12 <= len(items) == count(str(EXAMPLE))
    assert len({item.url for item in items}) == len(items)
    assert any(item.name for item in items)
    assert all(item.url.startswith("https://") for item in items)


def test_help_fits_a_terminal_of_80_columns() -> None:
    done = run_gdl("--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert [flag for flag in FLAGS if flag not in done.stdout] == []
