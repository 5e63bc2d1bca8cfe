"""Which images a run uses, and how the user reads of it: which data set it was, why, and how to get the other one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.datasets.course_test_set import with_test_deployment
from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import DatasetNotFoundError, UsageError
from search.config import StudyConfig, load_config, overlaid
from search.study_file import check_exists

DRY_RUN = "dry run"


@dataclass(frozen=True)
class ResolvedDataset:
    """A data set; `fallback_reason` says why it replaces the one that was wanted, "" where it does not."""

    data: Dataset
    fallback_reason: str = ""

    def __str__(self) -> str:
        if self.data.name == DRY_RUN:
            return "no images: a dry run trains nothing"
        if self.data.name == "cifar10":
            return f"CIFAR-10 from {self.data.source}; for the digits run studies/digits.toml"
        if self.data.name != "digits":
            return f"{self.data.name} from {self.data.source}"
        reason = "; for CIFAR-10 run another study file"
        if self.fallback_reason:
            reason = f", because {self.fallback_reason}"
        return f"digits: the 1,797 handwritten digits that scikit-learn ships{reason}"


def resolve_dataset(name: str, folder: Path | None, test_deployment: Path | None = None) -> ResolvedDataset:
    """Load the data set `name`: cifar10, digits or the path of an .npz.

    `folder` holds CIFAR-10, `test_deployment` the course's test images. Raises UsageError when the data set is missing
    or damaged, DatasetNotFoundError when it cannot be downloaded.
    """
    for option, given in (("--data", folder), ("--test-deployment", test_deployment)):
        if given is not None and name != "cifar10":
            raise UsageError(f"{option} {given} is for cifar10, and the data here is {name}", remedy="leave it out")
    data = load(name, folder)
    if test_deployment is not None:
        data = with_test_deployment(data, test_deployment)
    return ResolvedDataset(data)


def resolve_study(
    path: Path, runs: Path, folder: Path | None, test_deployment: Path | None, base: str | None = None
) -> tuple[StudyConfig, ResolvedDataset]:
    """Load a study file and its data set; where CIFAR-10 cannot be had, those of its `fallback`.

    Args:
        path: The study file.
        runs: Where studies are kept.
        folder: CIFAR-10, as `--data` names it.
        test_deployment: The course's test images, as `--test-deployment` names them.
        base: What `--base` says in place of the file.

    Raises:
        UsageError: The file is wrong, the data or the base is missing or damaged, or a search has no accuracy
            constraint.
    """
    config = load_config(path, runs)
    if config.dry_run is not None:
        return config, ResolvedDataset(_no_images())
    reason = ""
    try:
        resolved = _resolve_of(path, config, folder, test_deployment)
    except DatasetNotFoundError as error:
        if config.fallback is None:
            raise
        reason = str(error)
        path = path.parent / config.fallback
        config = load_config(path, runs)
        resolved = _resolve_of(path, config, None, None)
    _check_constraint(path, config, resolved.data)
    config = overlaid(config, base=base)
    if base is not None and not Path(base).exists():
        remedy = "give an .npz of `thrones import` or `thrones pretrain`"
        raise UsageError(f"--base {base} does not exist", remedy=remedy)
    if config.base is not None:
        check_exists(path, "base", config.base)
    return config, ResolvedDataset(resolved.data, reason)


def _no_images() -> Dataset:
    nothing = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
    return Dataset(DRY_RUN, "nothing", nothing, nothing, nothing, flip=True, rule_percent=70.0)


def _resolve_of(path: Path, config: StudyConfig, folder: Path | None, test_deployment: Path | None) -> ResolvedDataset:
    check_exists(path, "data", config.data)
    return resolve_dataset(config.data, folder, test_deployment)


def _check_constraint(path: Path, config: StudyConfig, data: Dataset) -> None:
    """Raise UsageError where neither the study nor its data says which accuracy a search must reach.

    Without it the fastest network wins, and that is one that guesses. A grid chooses nothing and needs none.
    """
    if config.grid is None and config.constraint.accuracy_percent is None and data.rule_percent is None:
        raise UsageError(
            f"{path}: {config.data} has no accuracy constraint of its own, and without one a search ends at a network "
            "that guesses",
            remedy="give one under [constraint]: accuracy_percent = 90, or what you need",
        )
