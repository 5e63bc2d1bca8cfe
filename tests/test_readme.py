"""What the README tells a reader to type exists: commands, options, make targets, study files and their keys."""

import re
import shlex
import sys
from typing import Any

import pytest
from paths import ROOT
from typer.main import get_command

from search.cli.app import app
from search.config import StudyConfig, load_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.split("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("thrones ")])
def test_a_command_parses(line: str) -> None:
    command: Any = get_command(app)
    name, *arguments = shlex.split(line)
    while hasattr(command, "commands"):  # a group, and perhaps a group in it
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)
    assert "Example: thrones" in command.epilog


@pytest.mark.parametrize("line", [line for line in LINES if "make " in line])
def test_a_make_target_exists(line: str) -> None:
    target = line.split("make ")[1].split()[0]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_line_is_of_a_kind_that_is_checked() -> None:
    kinds = ("thrones ", "make ", "THRONES_DATA=", "python -m edge measure ", "")
    assert [line for line in LINES if line and not line.startswith(kinds[:-1])] == []
    assert len([line for line in LINES if line]) >= 10


def test_ci_runs_what_the_readme_tells() -> None:
    targets = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    assert targets == ["check", "test", "test-arm64"]
    assert all(f"`make {target}`" in README or f"make {target} " in README for target in targets)


def test_named_studies_load_and_named_keys_exist() -> None:
    for name in set(re.findall(r"studies/\w+\.toml", README)):
        load_config(ROOT / name)
    (example,) = [block for kind, block in BLOCKS if kind == "toml"]
    StudyConfig.model_validate(tomllib.loads(example))
    section = None
    for row in re.findall(r"^\|(.*?)\|(.*?)\|", README, flags=re.MULTILINE):
        heading = re.search(r"`\[+(\w+)\]+`", row[0])
        section = heading[1] if heading else section
        model = StudyConfig.model_fields[section].annotation if section else StudyConfig
        model = getattr(model, "__args__", [model])[0]
        for key in re.findall(r"`(\w+)(?: = .*?)?`", row[1]):
            assert key in model.model_fields, f"[{section}] {key}"
