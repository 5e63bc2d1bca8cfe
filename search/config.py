"""The sections of a study file, their keys, defaults and limits. An unknown key is an error with a suggestion."""

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compress.quantization import IO_DTYPES, Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec
from edge.errors import UsageError
from edge.measuring.plan import PLANS
from search.config_errors import explain
from search.study_file import StudyValues, located, parse_values, read_text

logger = logging.getLogger(__name__)

Road = Literal["latency", "energy", "fom"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_quantizations(cls, values: Any) -> Any:
        """Raise the error of `Quantization`, which lists the known schemes."""
        names = values.get("quantization") if isinstance(values, dict) else None
        if isinstance(names, list):
            for name in names:
                Quantization(name)
        return values


class Constraint(_Section):
    """The least test accuracy, and how far the validation accuracy must be above it.

    accuracy_percent: the data set's own where it is not given (CIFAR-10: 70, digits: 97). margin_sigmas: in standard
    deviations of the difference between a validation and a test accuracy on as many images as there are.
    """

    accuracy_percent: float | None = Field(default=None, ge=0, lt=100)
    margin_sigmas: float = Field(default=2.33, ge=0, le=5)  # 99 % of a normal distribution are below

    def percent_on(self, data_percent: float | None) -> float:
        """Return the least test accuracy in percent; `data_percent`: that of the data set, None where it has none."""
        if self.accuracy_percent is not None:
            return self.accuracy_percent
        return data_percent or 0.0


class Budget(_Section):
    """The limits of a study (trials) and of one `thrones run` (minutes); the first that is reached stops the run."""

    trials: int = Field(default=1000, ge=1)
    minutes: float = Field(default=120.0, gt=0)


class Space(_Section):
    """The search space. A list with one entry, or a range of one value, fixes a choice."""

    pruning_ratio: tuple[float, float] = (0.0, 0.95)
    round_to: list[int] = Field(default=[1], min_length=1)
    drop_blocks: bool = True
    stem_stride: list[Literal[1, 2, 4]] = Field(default=[1, 2], min_length=1)
    epochs: tuple[int, int] = (4, 20)
    distill_weight: tuple[float, float] = (0.0, 0.9)
    quantization: list[Quantization] = Field(default=[Quantization.FLOAT32, Quantization.INT8], min_length=1)
    io_dtype: str = "int8"
    threads: list[int] = Field(default=[1], min_length=1)

    @model_validator(mode="after")
    def _ranges(self) -> "Space":
        low, high = self.pruning_ratio
        if not 0 <= low <= high < 1:
            raise ValueError(f"pruning_ratio must be [low, high] with 0 <= low <= high < 1, got [{low}, {high}]")
        if not 0 <= self.epochs[0] <= self.epochs[1]:
            raise ValueError(f"epochs must be [low, high] with 0 <= low <= high, got {list(self.epochs)}")
        if not 0 <= self.distill_weight[0] <= self.distill_weight[1] <= 1:
            raise ValueError(f"distill_weight must be [low, high] within 0..1, got {list(self.distill_weight)}")
        if any(round(end * 10, 6) % 1 for end in self.distill_weight):
            raise ValueError(f"distill_weight must be multiples of 0.1, got {list(self.distill_weight)}")
        if self.io_dtype not in IO_DTYPES:
            raise ValueError(f"io_dtype must be one of {', '.join(IO_DTYPES)}, got {self.io_dtype}")
        if min(self.round_to) < 1 or min(self.threads) < 1:
            raise ValueError(f"round_to and threads must be >= 1, got {self.round_to} and {self.threads}")
        return self


class Training(_Section):
    """How every trial of the study is trained. The defaults are from an experiment (studies/results/training.csv).

    threads: TensorFlow's; 0: all cores. Networks below a million MACs train faster with one than with two.
    """

    learning_rate: float = Field(default=0.05, gt=0, le=10)
    batch_size: int = Field(default=64, ge=1)
    crop_padding: int = Field(default=2, ge=0, le=16)
    threads: int = Field(default=0, ge=0)


class Measure(_Section):
    """The measurement protocols: one for each trial, one for the final comparison of the best candidate with the base.

    `auto` is `search`, or `metered` where the meter needs longer windows. Without `search`: `StudyConfig.search_plan`.
    """

    search: str | None = None
    final: str = "final"

    @model_validator(mode="after")
    def _plans(self) -> "Measure":
        for plan in (self.search, self.final):
            if plan is not None and plan not in PLANS and plan != "auto":
                raise ValueError(f"a plan must be one of auto, {', '.join(PLANS)}, got {plan}")
        return self


class FinalTraining(_Section):
    """The longer training of the best candidates at the end of a search; with 0 candidates there is none.

    points_per_doubling: the points of accuracy that twice the epochs are expected to add. In the search, a candidate
    may miss the constraint by what training for `epochs` promises. quantization: each candidate is tried in all of
    these schemes. budget_fraction: the part of the budget's minutes that is kept for this.
    """

    candidates: int = Field(default=0, ge=0)
    epochs: int = Field(default=40, ge=1)
    points_per_doubling: float = Field(default=2.0, ge=0, le=100)
    quantization: list[Quantization] = list(Quantization)
    budget_fraction: float = Field(default=0.4, ge=0, lt=1)


class Grid(_Section):
    """Every combination is one trial, in place of a search: Tables 1 and 2 of the competition.

    Table 1 shows float32 alone, Table 2 dynamic and any other quantization beside it.

    A pruning ratio of 0 is the base itself and is not fine-tuned. More epochs continue from the fewer ones of the
    list. Each leg has its own cosine decay and begins lower than the one before (warm restarts, Loshchilov and Hutter
    2017).
    """

    pruning_ratio: list[float] = Field(min_length=1)
    epochs: list[int] = Field(min_length=1)
    quantization: list[Quantization] = Field(default=[Quantization.FLOAT32], min_length=1)
    distill_weight: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _known(self) -> "Grid":
        for ratio in self.pruning_ratio:
            if not 0 <= ratio < 1:
                raise ValueError(f"a pruning ratio must be >= 0 and < 1, got {ratio}; at least one channel stays")
        if min(self.epochs) < 0:
            raise ValueError(f"epochs must be >= 0, got {min(self.epochs)}")
        if Quantization.QAT_INT8 in self.quantization:
            raise ValueError("quantization qat_int8 trains anew and shares no epochs; a grid takes the other schemes")
        if set(self.quantization) != {Quantization.FLOAT32} and Quantization.DYNAMIC not in self.quantization:
            raise ValueError(
                f"no table shows quantization {', '.join(self.quantization)}: Table 1 is about float32 alone, Table 2 "
                "about dynamic and any others beside it; add dynamic"
            )
        return self

    @property
    def milestone(self) -> str:
        """Return m1 or m2: the milestone whose table shows this grid."""
        return "m2" if Quantization.DYNAMIC in self.quantization else "m1"


class DryRun(_Section):
    """A study in which nothing is trained or converted (`search.runner.dry_run`). train_s: seconds of a training."""

    train_s: float = Field(default=20.0, ge=0)


class Initial(_Section):
    """A candidate to try first; `pruning_ratios` is one number for all layers, or one for each."""

    pruning_ratios: float | list[float] = 0.0
    round_to: int = 1
    dropped_blocks: list[int] = []
    stem_stride: int = 1
    epochs: int = 4
    distill_weight: float = 0.0
    quantization: str = "float32"
    threads: int = 1


class StudyConfig(_Section):
    """The content of one study file.

    data: cifar10, digits or the path of an .npz (`search.study_file`). base: the .npz of the unpruned network, written
    by `thrones import` or `pretrain`; None: the one that fits `data`. fallback: the study file, beside this one, to run
    where CIFAR-10 is not available. storage: a URL (`search.storage.open`); None: an SQLite file in `folder`.
    artifacts: a folder or s3://BUCKET; None: in `folder`. device: one URL, or several devices of one kind.
    """

    name: str = ""
    road: Road
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
