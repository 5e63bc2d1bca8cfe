"""The sections of a study file: their keys, defaults and limits."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compress.quantization import IO_DTYPES, Quantization
from edge.measuring.plan import PLANS


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

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


class Constraint(Section):
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


class Budget(Section):
    """The limits of a study (trials) and of one `thrones run` (minutes); the first that is reached stops the run."""

    trials: int = Field(default=1000, ge=1)
    minutes: float = Field(default=120.0, gt=0)


class Space(Section):
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


class Training(Section):
    """How every trial of the study is trained. The defaults are from an experiment (studies/results/training.csv).

    threads: TensorFlow's; 0: all cores. Networks below a million MACs train faster with one than with two.
    """

    learning_rate: float = Field(default=0.05, gt=0, le=10)
    batch_size: int = Field(default=64, ge=1)
    crop_padding: int = Field(default=2, ge=0, le=16)
    threads: int = Field(default=0, ge=0)


class Measure(Section):
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


class FinalTraining(Section):
    """The longer training of the best candidates at the end of a search; with 0 candidates there is none.

    points_per_doubling: the points of accuracy that twice the epochs are expected to add. In the search, a candidate
    may miss the constraint by what training for `epochs` promises. quantization: each candidate is tried in all of
    these schemes. budget_fraction: the part of the budget's minutes that is kept for this.
    """

    candidates: int = Field(default=0, ge=0)
    epochs: int = Field(default=40, ge=1)
    points_per_doubling: float = Field(default=2.0, ge=0, le=100)
    quantization: list[Quantization] = [  # written out: a study's fingerprint holds it, so a new scheme must not enter
        Quantization.FLOAT32,
        Quantization.FLOAT16,
        Quantization.DYNAMIC,
        Quantization.INT8,
        Quantization.INT16X8,
        Quantization.QAT_INT8,
    ]
    budget_fraction: float = Field(default=0.4, ge=0, lt=1)


class Grid(Section):
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


class DryRun(Section):
    """A study in which nothing is trained or converted (`search.runner.dry_run`). train_s: seconds of a training."""

    train_s: float = Field(default=20.0, ge=0)


class Initial(Section):
    """A candidate to try first; `pruning_ratios` is one number for all layers, or one for each."""

    pruning_ratios: float | list[float] = 0.0
    round_to: int = 1
    dropped_blocks: list[int] = []
    stem_stride: int = 1
    epochs: int = 4
    distill_weight: float = 0.0
    quantization: str = "float32"
    threads: int = 1
