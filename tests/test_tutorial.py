"""studies/TUTORIAL.md from its first command to its last, on small images and with short measurements.

The page's own commands and study file are used as they are. What is small is around them: `studies/latency.toml` and
`studies/m1.toml` of the folder have three candidates and two rows, the images are ten kinds of coloured squares that
stand in for CIFAR-10, and the checkpoint is a random network whose last layer is fitted to them.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import squares
from course_network import fitted_network
from paths import STUDIES

from compress.datasets.load import load
from search.config import load_config

PAGE = (STUDIES / "TUTORIAL.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, block in BLOCKS if not kind for line in block.splitlines()]
(STUDY_FILE,) = [block for kind, block in BLOCKS if kind == "toml"]
GRID = """road = "latency"
[training]
batch_size = 8
[grid]
pruning_ratio = [0.0, 0.9]
epochs = [1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a student has it before the first command."""
    folder = tmp_path_factory.mktemp("tutorial")
    squares.write_images(folder / "squares.npz")
    fitted_network(*load("cifar10", folder / "squares.npz").train).save_weights(folder / "mbnv1_tf.ckpt")
    (folder / "studies").mkdir()
    small = squares.write_study(folder / "studies" / "latency.toml", squares.SMALL, squares.SMALLER, trials=2)
    small.write_text(small.read_text().replace('"squares.npz"', '"cifar10"'))
    (folder / "studies" / "m1.toml").write_text(GRID)
    (folder / "mine.toml").write_text(STUDY_FILE)
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """How each command of the page ended, in the page's order; none after one that failed."""
    found: dict[str, subprocess.CompletedProcess[str]] = {}
    for command in COMMANDS:
        _, *arguments = shlex.split(command)
        found[command] = squares.thrones(*arguments, folder=folder, THRONES_DATA=str(folder / "squares.npz"))
        if found[command].returncode != 0:
            break
    return found


@pytest.mark.slow
def test_every_command_of_the_tutorial_succeeds(ended: dict[str, "subprocess.CompletedProcess[str]"]) -> None:
    for command, result in ended.items():
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert list(ended) == COMMANDS


@pytest.mark.slow
def test_the_commands_leave_what_the_tutorial_says(
    folder: Path, ended: dict[str, "subprocess.CompletedProcess[str]"]
) -> None:
    config = load_config(folder / "mine.toml")
    assert (config.road, config.budget.minutes, config.base) == ("latency", 20, str(folder / "mbnv1_tf.npz"))
    for name in ("mbnv1_tf.npz", "mbnv1_tf.json", "runs/mine/replay/results.json", "tables/M1.pptx", "M3_7.zip"):
        assert (folder / name).is_file(), name
    assert {path.suffix for path in (folder / "tables").iterdir()} >= {".md", ".csv", ".pptx"}
    packed = ended["thrones submit --check M3_7.zip"].stdout
    assert re.search(r"^ok\b", packed, flags=re.MULTILINE) and not re.search(r"^wrong\b", packed, flags=re.MULTILINE)
