"""What the READMEs tell a reader to type exists: commands, options, make targets, files, study files and their keys."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from paths import ROOT, STUDIES
from typer.main import get_command

from edge.__main__ import COMMANDS as EDGE_COMMANDS
from search.cli.app import app
from search.config import StudyConfig, load_config, parse_config
from search.config_errors import model_of
from search.study_file import RENAMED

READMES = sorted({ROOT / "README.md", *ROOT.glob("*/README.md"), *STUDIES.glob("*.md")})
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in READMES}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MAX_WORDS = 1000


class Line(NamedTuple):
    """A line of a code block that a reader types."""

    readme: str
    command: str


def code_blocks(kind: str, readme: str) -> list[str]:
    """The blocks of a README that are marked with a language, or with "" for none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", TEXTS[readme], flags=re.DOTALL | re.MULTILINE)
    return [block for marked, block in found if marked == kind]


def _lines() -> Iterator[Line]:
    for readme in TEXTS:
        for block in code_blocks("", readme):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split("#")[0].strip()
                if command:
                    yield Line(readme, command)


LINES = list(_lines())
KINDS = ("thrones ", "make ", "THRONES_DATA=", "python -m edge ", "pip install ")


def starting_with(start: str) -> list[Any]:
    """The lines that start so, as parameters of a test."""
    return [pytest.param(line.command, id=f"{line.readme}: {line.command}") for line in LINES if start in line.command]


@pytest.mark.parametrize("line", [line for line in starting_with("thrones ") if line.values[0].startswith("thrones ")])
def test_a_command_parses(line: str) -> None:
    command: Any = get_command(app)
    name, *arguments = shlex.split(line)
    while hasattr(command, "commands"):  # a group, and perhaps a group in it
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)
    assert "Example: thrones" in command.epilog


@pytest.mark.parametrize("line", starting_with("make "))
def test_a_make_target_exists(line: str) -> None:
    target = line.split("make ")[1].split()[0]
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("line", starting_with("python -m edge "))
def test_a_command_of_the_device_exists(line: str) -> None:
    assert line.split()[3] in EDGE_COMMANDS


def test_every_line_is_of_a_kind_that_is_checked() -> None:
    assert [line for line in LINES if not line.command.startswith(KINDS)] == []
    assert len(LINES) >= 50


def test_every_make_target_is_described() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    described = "\n".join(TEXTS.values())
    for target in set(targets.split()) - {"help", "clean"}:
        assert f"make {target}" in described, target


def test_ci_runs_what_the_readme_tells() -> None:
    readme = TEXTS["README.md"]
    targets = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    assert targets == ["check", "test", "test-arm64"]
    assert all(f"`make {target}`" in readme or f"make {target} " in readme for target in targets)


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].split()) <= MAX_WORDS


@pytest.mark.parametrize("readme", TEXTS)
def test_named_files_exist(readme: str) -> None:
    folder = (ROOT / readme).parent
    for target in re.findall(r"\]\(([^)#]+)\)", TEXTS[readme]):
        if "://" not in target:
            assert (folder / target).exists(), target
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", "\n".join(re.findall(r"^\|.*$", TEXTS[readme], re.MULTILINE))):
        assert (folder / name).exists() or (ROOT / name).exists(), name
    for name in re.findall(r"\btests/[\w/]+\.(?:py|sh)\b", TEXTS[readme]):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\bstudies/results/\w+\.\w+", TEXTS[readme]):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("readme", TEXTS)
def test_named_studies_load(readme: str) -> None:
    for name in set(re.findall(r"studies/\w+\.toml", TEXTS[readme])) - {"studies/short.toml"}:  # the reader writes it
        load_config(ROOT / name)
    for block in code_blocks("toml", readme):
        folder = ROOT if 'extends = "studies/' in block else STUDIES
        parse_config(block, folder / "example.toml", Path("runs"))


def table(readme: str, heads: str) -> list[list[str]]:
    """The cells of the one table of a README whose head is `heads`."""
    (rows,) = re.findall(rf"^\| {re.escape(heads)} \|\n\|[-|:]+\|\n((?:\|.*\|\n)+)", TEXTS[readme], flags=re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def test_the_table_of_keys_has_every_key_and_no_other() -> None:
    section = ""
    described: set[tuple[str, str]] = set()
    for row in table("search/README.md", "section | key = default | meaning"):
        heading = re.search(r"`\[+(\w+)\]+`", row[0])
        section = heading[1] if heading else section
        described |= {(section, key) for key in re.findall(r"`(\w+)(?: = [^`]*)?`", row[1])}
    known: set[tuple[str, str]] = set()
    for name in StudyConfig.model_fields:
        model = model_of(StudyConfig, [name])
        known |= {("", name)} if model is StudyConfig else {(name, key) for key in model.model_fields}
    assert described == known


def test_the_table_of_old_keys_is_that_of_the_code() -> None:
    described: dict[str, dict[str, str]] = {section: {} for section in RENAMED}
    for old, new in table("search/README.md", "old key | new key"):
        *sections, key = re.findall(r"`\[*(\w+)\]*`", old)
        section = RENAMED[""].get(sections[0], sections[0]) if sections else ""
        (described[section][key],) = re.findall(r"`\[*(\w+)\]*`", new)
    assert described == RENAMED
