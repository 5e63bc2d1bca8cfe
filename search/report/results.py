"""What a study has found, as plain data: read from the storage once, shown as table, CSV, JSON and HTML."""

from dataclasses import dataclass, field
from typing import Any

from compress.architecture import Architecture
from compress.spec import CompressionSpec

RUN_OFF_WITHIN = 0.06
"""How far from the best value those may be that are measured again at the end: windows of a tenth of a second vary by
5 % on a shared machine."""
IMPORTANCE_TRIALS = 8
"""Fewer complete trials than this say nothing of what matters."""


@dataclass(frozen=True)
class Figures:
    """A model's figures as they stand in every table; percent, ms, mJ, W, MB (10^6 bytes).

    `accuracy_percent` is on all test images where `accuracy_of` is "test", else on the validation images.
    `estimated`: power and energy come from the estimate meter and were not measured.
    """

    name: str
    accuracy_percent: float
    accuracy_of: str
    latency_ms: float
    p90_ms: float
    spread: float
    energy_mj: float | None
    power_w: float | None
    estimated: bool
    peak_memory_mb: float
    memory_growth_mb: float
    model_bytes: int
    parameters: int
    macs: int
    sha256: str
    plan: str

    @property
    def fom(self) -> float | None:
        """Accuracy in percent / (latency in ms x energy in mJ); published entries are ours x 10,000."""
        return self.accuracy_percent / (self.latency_ms * self.energy_mj) if self.energy_mj else None


@dataclass(frozen=True)
class Phase:
    """A stretch of a trial; `start_s` in seconds since 1970, `board` the device where it was at work."""

    name: str
    start_s: float
    seconds: float
    board: str = ""


@dataclass(frozen=True)
class TrialResult:
    """One trial, whatever became of it; `curve` is the validation accuracy in percent after each epoch.

    `phases` is empty for a trial of before they were stored; then `seconds` is all that is known of its time.
    `measurement_json` is raw, with all its windows, since a page shows few of thousands of trials.
    """

    number: int
    state: str  # COMPLETE, PRUNED, FAIL, RUNNING, WAITING: Optuna's words
    reason: str
    feasible: bool
    value: float | None
    figures: Figures | None
    spec: CompressionSpec | None
    architecture: Architecture | None
    operators: dict[str, int]
    curve: tuple[float, ...]
    seconds: dict[str, float]  # phase -> seconds: structure, train, convert, measure ...
    params: dict[str, Any]
    phases: tuple[Phase, ...] = ()
    worker: str = ""  # host:pid
    finalist_of: int | None = None  # the trial of the search that it trains on
    artifacts: dict[str, str] = field(default_factory=dict)  # file name -> id in the artifact store
    measurement_json: str = ""
    search_percent: float | None = None  # accuracy on the validation images of the search
    decision_percent: float | None = None  # and on those that decide whether the rule is kept


@dataclass(frozen=True)
class StudyResults:
    """A whole study. `base` and `best` were measured side by side in one run where `compared` says so."""

    name: str
    road: str  # latency, energy or fom
    data: str
    data_source: str
    rule_percent: float
    required_percent: float  # the rule plus the margin, on the validation images
    device: str
    meter: str
    environment: dict[str, Any]
    base: Figures | None
    best: Figures | None
    best_trial: int | None
    compared: bool
    base_architecture: Architecture
    importances: dict[str, float] = field(default_factory=dict)
    trials: tuple[TrialResult, ...] = ()
    decision_images: int = 0  # validation images that decide whether the rule is kept; 0: not stored
    test_images: int = 0
    tie_tolerance: float = 0.0  # candidates within this share of the best value count as equal

    @property
    def tried_against_rule(self) -> int:
        """How many networks as good as the best one were held against the rule on the images that decide, it included.

        Any of them would have been the best, had it kept the rule, and so the luckiest one is. All formats of one
        finalist are one network. What misses the rule on the search's own images is not held against it at all.
        """
        best = next((trial for trial in self.trials if trial.number == self.best_trial), None)
        if best is None or best.value is None:
            return 0
        within = max(self.tie_tolerance, RUN_OFF_WITHIN)
        least = best.value * (1 - within) if self.road == "fom" else best.value * (1 + within)
        held = [
            trial
            for trial in self.trials
            if trial.value is not None
            and (trial.value >= least if self.road == "fom" else trial.value <= least)
            and (trial.search_percent or 0.0) >= self.rule_percent
        ]
        return len({trial.number if trial.finalist_of is None else trial.finalist_of for trial in held})

    @property
    def front(self) -> list[TrialResult]:
        """The measured candidates than which none is both faster and more accurate, the fastest first."""
        found: list[TrialResult] = []
        measured = [(trial, trial.figures) for trial in self.trials if trial.state == "COMPLETE" and trial.figures]
        highest = -1.0
        for trial, figures in sorted(measured, key=lambda pair: (pair[1].latency_ms, -pair[1].accuracy_percent)):
            if figures.accuracy_percent > highest:
                found, highest = [*found, trial], figures.accuracy_percent
        return found

    @property
    def speedup(self) -> float | None:
        """How many times faster the best candidate is than the unpruned float base."""
        return self.base.latency_ms / self.best.latency_ms if self.base and self.best else None
