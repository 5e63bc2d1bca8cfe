"""A study file, read and checked. An unknown key is an error with a suggestion."""

import logging
from pathlib import Path

from pydantic import Field, ValidationError

from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec
from edge.errors import UsageError
from search.config_errors import explain
from search.config_sections import (
    Budget,
    Constraint,
    DryRun,
    FinalTraining,
    Grid,
    Initial,
    Measure,
    Section,
    Space,
    Training,
)
from search.objective import Objective
from search.study_file import StudyValues, located, parse_values, read_text

logger = logging.getLogger(__name__)


class StudyConfig(Section):
    """The content of one study file.

    data: cifar10, digits or the path of an .npz (`search.study_file`). base: the .npz of the unpruned network, written
    by `thrones import` or `pretrain`; None: the one that fits `data`. fallback: the study file, beside this one, to run
    where CIFAR-10 is not available. storage: a URL (`search.storage.open_storage`); None: an SQLite file in `folder`.
    artifacts: a folder or s3://BUCKET; None: in `folder`. device: one URL, or several devices of one kind.
    """

    name: str = ""
    road: Objective
    data: str = "cifar10"
    base: str | None = None
    device: str | list[str] = "local:"
    meter: str = "estimate://4.8W"
    seed: int = Field(default=0, ge=0)
    folder: Path = Path()
    fallback: str | None = None
    storage: str | None = None
    artifacts: str | None = None
    constraint: Constraint = Constraint()
    budget: Budget = Budget()
    space: Space = Space()
    training: Training = Training()
    measure: Measure = Measure()
    final_training: FinalTraining = FinalTraining()
    initial: list[Initial] = []
    grid: Grid | None = None
    dry_run: DryRun | None = None

    @property
    def search_plan(self) -> str:
        """Return the measurement protocol of a trial; without one in the file: `whole` for a grid, `auto` otherwise.

        A row of a grid is a line of a table, so it is measured over the whole test set.
        """
        if self.measure.search is not None:
            return self.measure.search
        return "whole" if self.grid is not None else "auto"

    @property
    def devices(self) -> list[str]:
        """Return the URLs of the devices."""
        return [self.device] if isinstance(self.device, str) else list(self.device)

    def initial_specs(self) -> list[CompressionSpec]:
        """Return the specifications to try first. Raises UsageError when one of them is out of range."""
        return [self._spec(initial) for initial in self.initial]

    def _spec(self, initial: Initial) -> CompressionSpec:
        ratios = initial.pruning_ratios
        quantization = Quantization(initial.quantization)
        return CompressionSpec(
            pruning_ratios=tuple(ratios) if isinstance(ratios, list) else (ratios,) * PRUNED_LAYERS,
            round_to=initial.round_to,
            dropped_blocks=tuple(initial.dropped_blocks),
            stem_stride=initial.stem_stride,
            epochs=initial.epochs,
            learning_rate=self.training.learning_rate,
            distill_weight=initial.distill_weight,
            quantization=quantization,
            io_dtype=quantization.io_dtype(self.space.io_dtype),
            threads=initial.threads,
        )


def overlaid(
    config: StudyConfig,
    *,
    device: str | list[str] | None = None,
    meter: str | None = None,
    storage: str | None = None,
    artifacts: str | None = None,
    base: str | None = None,
) -> StudyConfig:
    """Return the study with what the options of a command say in place of its file; None: the file decides."""
    options = {"device": device, "meter": meter, "storage": storage, "artifacts": artifacts, "base": base}
    return config.model_copy(update={name: value for name, value in options.items() if value is not None})


def load_config(path: Path, runs: Path = Path("runs")) -> StudyConfig:
    """Read and check a study file; what it writes goes to `runs/<its name>` unless it names a folder.

    One line in the log names the new spelling of each old key. Raises UsageError with file, key, value and remedy.
    """
    found = parse_values(read_text(path), path)
    if found.renamed:
        logger.warning("%s: old keys, valid in this version only: %s", path, "; ".join(found.renamed))
    return _checked(found, path, runs, path)


def parse_config(text: str, path: Path, runs: Path, shown: Path | None = None) -> StudyConfig:
    """Check the text of a stored or packed study file as `load_config` does, without a line about old keys.

    `shown`: what messages call the file, where that is not its path.
    """
    return _checked(parse_values(text, path, shown), path, runs, shown or path)


def _checked(found: StudyValues, path: Path, runs: Path, shown: Path) -> StudyConfig:
    values = {"name": path.stem, "folder": runs / path.stem, **found.values}
    for key in ("data", "base"):
        if isinstance(values.get(key), str):
            values[key] = located(values[key], path)
    try:
        config = StudyConfig.model_validate(values)
        config.initial_specs()
    except ValidationError as error:
        raise UsageError(f"{shown}: {explain(error.errors()[0], StudyConfig)}") from error
    except UsageError as error:
        raise UsageError(f"{shown}: in [[initial]]: {error}") from error
    return config
