"""A study that is over in a minute: ten kinds of noisy coloured squares, and nets of two or three blocks."""

import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from search.config import StudyConfig, load_config
from search.progress import Progress
from search.storage.open_storage import load_study
from search.storage.trial_record import TrialRecord, read_trials

COMMAND = [sys.executable, str(Path(__file__).with_name("hasty.py"))]
SMALL = """pruning_ratios = 0.0
dropped_blocks = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
stem_stride = 4
"""
SMALLER = """pruning_ratios = 0.6
dropped_blocks = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
stem_stride = 4
"""
SLOW = "stem_stride = 4\n"
HOPELESS = """pruning_ratios = 0.95
dropped_blocks = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
stem_stride = 4
"""


def write_images(path: Path) -> None:
    """An .npz of 300 training and 100 test images that a net of two blocks learns in four epochs."""
    colours = np.random.default_rng(1).integers(0, 256, (10, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 10
        noise = np.random.default_rng(seed).normal(0, 40, (count, 32, 32, 3))
        return np.clip(colours[labels] + noise, 0, 255).astype(np.uint8), labels

    (images, labels), (test_images, test_labels) = draw(300, 2), draw(100, 3)
    test_labels[0] = 1  # a wrong label, as real data have some: no model is right on every image
    np.savez(path, x_train=images, y_train=labels, x_test=test_images, y_test=test_labels)


def lend_base(finished: Path, runs: Path) -> None:
    """Have another `runs` folder begin with the base that a finished study has trained on these images."""
    shutil.copytree(finished / "runs" / "cache" / "bases", runs / "cache" / "bases")


def write_study(
    path: Path, *starts: str, trials: int, road: str = "latency", epochs: int = 4, minutes: float = 9
) -> Path:
    """A study file for these images; `epochs` is the most that a trial may have."""
    text = f"""
road = "{road}"
data = "squares.npz"
[constraint]
accuracy_percent = 60
margin_sigmas = 0
[budget]
trials = {trials}
minutes = {minutes}
[space]
stem_stride = [4]
epochs = [4, {epochs}]
distill_weight = [0.0, 0.0]
quantization = ["float32"]
[training]
batch_size = 8
[measure]
final = "search"
"""
    path.write_text(text + "".join(f"[[initial]]\n{start}" for start in starts), encoding="utf-8")
    return path


def thrones(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user gives it, in `folder`, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


def refused(*arguments: str, folder: Path, code: int = 2, **environment: str) -> str:
    """The one line with which the command ends."""
    ended = thrones(*arguments, folder=folder, **environment)
    assert ended.returncode == code, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("thrones: ")
    return lines[0]


def read(path: Path) -> StudyConfig:
    """The configuration of a study file, kept in the `runs` beside it."""
    return load_config(path, path.parent / "runs")


def records_of(folder: Path, name: str = "squares") -> list[TrialRecord]:
    """Return the records of a study in `folder` as they are now."""
    return read_trials(load_study(read(folder / f"{name}.toml")))


def silent() -> Progress:
    """A progress display that nobody sees."""
    return Progress(Console(file=StringIO()), 1)
