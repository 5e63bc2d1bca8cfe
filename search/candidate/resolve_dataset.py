"""The data set of a run, and how it is told: which one it was, why, and how to get the other."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.datasets.course_test_set import with_test_deployment
from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import DatasetNotFoundError, UsageError
from search.config import StudyConfig, load_config, overlaid
from search.study_file import check_exists

REHEARSAL = "rehearsal"


@dataclass(frozen=True)
class Found:
    """A data set; `why` tells why it is not the one that was wanted, and is empty otherwise."""

    data: Dataset
    why: str = ""

    def __str__(self) -> str:
        if self.data.name == REHEARSAL:
            return "no images: a rehearsal trains nothing"
        if self.data.name == "digits":
            reason = f", because {self.why}" if self.why else "; for CIFAR-10 run another study file"
            return f"digits: the 1,797 handwritten digits that scikit-learn ships{reason}"
        if self.data.name == "cifar10":
            return f"CIFAR-10 from {self.data.source}; for the digits run studies/digits.toml"
        return f"{self.data.name} from {self.data.source}"


def find(name: str, folder: Path | None, test_deployment: Path | None = None) -> Found:
    """The data set `name`: cifar10, digits or the path of an .npz, with the course's folder as test set if given.

    Raises UsageError when it is missing or damaged, DatasetNotFoundError when it cannot be downloaded.
    """
    for option, given in (("--data", folder), ("--test-deployment", test_deployment)):
        if given is not None and name != "cifar10":
            raise UsageError(f"{option} {given} is for cifar10, and the data here is {name}; leave it out")
    data = load(name, folder)
    return Found(data if test_deployment is None else with_test_deployment(data, test_deployment))


def study_and_data(
    path: Path, runs: Path, folder: Path | None, test_deployment: Path | None, base: str | None = None
) -> tuple[StudyConfig, Found]:
    """The study of a file and its data; where CIFAR-10 is not to be had, those of its `fallback`.

    base: what `--base` says in place of the file. Raises UsageError when the file is wrong, the data is missing or
    damaged, the base is missing, or a search has no rule to keep.
    """
    config = load_config(path, runs)
    if config.dry_run is not None:
        nothing = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
        return config, Found(Dataset(REHEARSAL, "nothing", nothing, nothing, nothing, flip=True, rule_percent=70.0))
    try:
        found = find_of(path, config, folder, test_deployment)
    except DatasetNotFoundError as error:
        if config.fallback is None:
            raise
        path = path.parent / config.fallback
        config = load_config(path, runs)
        found = replace(find_of(path, config, None), why=str(error))
    check_rule(path, config, found.data)
    config = overlaid(config, base=base)
    if base is not None and not Path(base).exists():
        raise UsageError(f"--base {base} does not exist; give an .npz of `thrones import` or `thrones pretrain`")
    if config.base is not None:
        check_exists(path, "base", config.base)
    return config, found


def find_of(path: Path, config: StudyConfig, folder: Path | None, test_deployment: Path | None = None) -> Found:
    """The data set of the study file at `path`. Raises UsageError as `find` does."""
    check_exists(path, "data", config.data)
    return find(config.data, folder, test_deployment)


def check_rule(path: Path, config: StudyConfig, data: Dataset) -> None:
    """Raises UsageError where neither the study nor its data says what accuracy a search must keep.

    Without it the fastest network wins, and that is one that guesses. A grid chooses nothing and needs none.
    """
    if config.grid is None and config.constraint.accuracy_percent is None and data.rule_percent is None:
        raise UsageError(
            f"{path}: {config.data} has no least accuracy of its own, and without one a search ends at a network that "
            "guesses; say it under [constraint]: accuracy_percent = 90, or what you need"
        )
