"""What a trial comes to: an evaluation, or a rejection with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from edge.measuring.measurement import Measurement


class Stage(str, Enum):
    """The stages of a trial that can reject its candidate, in their order."""

    BOUND = "MAC bound"
    ARCHITECTURE = "architecture"
    TRAINING = "train and convert"
    MEASUREMENT = "measure"

    __str__ = str.__str__


class Phase(str, Enum):
    """Where the time of a trial goes."""

    ARCHITECTURE = "architecture"
    MEASURE_ARCHITECTURE = "measure architecture"
    TRAIN = "train"
    CONVERT = "convert"
    MEASURE = "measure"
    WAITING = "waiting"

    __str__ = str.__str__


class EndReason(str, Enum):
    """Why a trial ended without a value."""

    MAC_BOUND = "mac_bound"
    SLOWER_ARCHITECTURE = "slower_architecture"
    OUT_OF_REACH = "out_of_reach"
    OUT_OF_TIME = "out_of_time"
    NO_NETWORK = "no_network"
    DUPLICATE = "duplicate"
    NOTHING_LEFT = "nothing_left"
    CANDIDATE_FAILED = "candidate_failed"
    UNSUPPORTED_MODEL = "unsupported_model"
    INVALID_MEASUREMENT = "invalid_measurement"
    TEST_BENCH_UNAVAILABLE = "test_bench_unavailable"
    INTERRUPTED = "interrupted"
    INTERNAL_ERROR = "internal_error"

    __str__ = str.__str__

    @property
    def stage(self) -> Stage | None:
        """Return the stage that rejected the candidate; None where none did."""
        return _STAGES.get(self)


_STAGES = {
    EndReason.MAC_BOUND: Stage.BOUND,
    EndReason.SLOWER_ARCHITECTURE: Stage.ARCHITECTURE,
    EndReason.OUT_OF_REACH: Stage.TRAINING,
}


@dataclass(frozen=True)
class Rejection:
    """A candidate that was given up: why, in one line, and what was predicted of it.

    `predicted_violation`: the points of accuracy that it is predicted to lack; None where nothing is known.
    """

    reason: EndReason
    message: str
    predicted_violation: float | None = None


class Rejected(Exception):
    """Carries a rejection out of a training."""

    def __init__(self, rejection: Rejection) -> None:
        self.rejection = rejection

    def __str__(self) -> str:
        return self.rejection.message


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a model on the validation images, in percent.

    `search_percent` guides the search, `decision_percent` decides whether the constraint is met. They are taken on two
    parts of the images: the best of many candidates owes some of its accuracy to luck on the images that found it.
    `validation_percent` is the accuracy on both parts together.
    """

    validation_percent: float
    search_percent: float
    decision_percent: float

    def violation(self, constraint_percent: float, required_percent: float) -> float:
        """Return the points that are missing to meet the accuracy constraint; 0 or less meets it.

        The accuracy must reach `required_percent`, the constraint with its margin, on the images that decide. A model
        below the bare constraint on the search's images is out without a look at the others: each look is one more
        chance of luck.
        """
        return max(required_percent - self.decision_percent, constraint_percent - self.search_percent)


@dataclass(frozen=True)
class ArchitectureResult:
    """The speed of an untrained architecture.

    `best_case` is the objective's value at 100 % accuracy. `advantage` tells how many times better it is than the best
    candidate's architecture, where the two were compared; `can_win` is False where that is not enough.
    """

    macs: int
    best_case: float
    samples: tuple[Measurement, ...]
    advantage: float | None = None
    can_win: bool = True

    @property
    def measurement(self) -> Measurement:
        """Return the latest sample."""
        return self.samples[-1]


@dataclass(frozen=True)
class Evaluation:
    """A candidate that was trained, converted and measured.

    `constraint_violation`: see `Accuracy.violation`. `predicted_violation`: what it is predicted to lack after the
    final training. `test_accuracy_percent` is known for the rows of a grid alone.
    """

    value: float
    model: bytes = field(repr=False)
    operators: Mapping[str, int]
    accuracy: Accuracy
    measurement: Measurement
    constraint_violation: float
    predicted_violation: float
    test_accuracy_percent: float | None = None


@dataclass(frozen=True)
class PhaseTime:
    """A stretch of a trial; `start_s` in seconds since 1970."""

    phase: Phase
    start_s: float
    seconds: float
