"""The results of a study as plain data, which are shown as tables, CSV, JSON and HTML."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from compress.architecture import Architecture
from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.evaluation import EndReason, Phase, PhaseTime, Stage
from search.objective import Objective
from search.strategy.ranking import SHORTLIST_WITHIN
from search.strategy.warm_start import weights_only

MIN_IMPORTANCE_TRIALS = 8
"""Importances of parameters need at least this many complete trials."""


@dataclass(frozen=True)
class Figures:
    """The figures of a model, as every table shows them; percent, ms, mJ, W, MB (10^6 bytes).

    `accuracy_percent` is on all test images where `accuracy_of` is "test", else on the validation
    images. `estimated`: power and energy come from the estimate meter and were not measured.
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
        """Return accuracy in percent / (latency in ms x energy in mJ); None without an energy."""
        if not self.energy_mj:
            return None
        return self.accuracy_percent / (self.latency_ms * self.energy_mj)

    @property
    def fom_published(self) -> float | None:
        """Return the FoM as published entries give it: accuracy as a fraction / (s x J)."""
        if self.fom is None:
            return None
        return self.fom * 10_000


@dataclass(frozen=True)
class DevicePhase(PhaseTime):
    """A phase of a trial, with the URL of the device that worked in it; "" where none did."""

    device: str = ""


@dataclass(frozen=True)
class TrialResult:
    """A trial in any state.

    `reason` is `end_reason` in words. `curve` is the validation accuracy in percent after each
    epoch. `worker` is host:pid. `refined_from` is the trial of the search whose candidate got its
    final training here. `artifacts`: file name to id in the artifact store. `measurement` is that
    of the trained model, or else that of its untrained architecture. `search_percent` is the
    accuracy on the validation images of the search, `decision_percent` that on the images that
    decide whether the accuracy constraint is met.
    """

    number: int
    state: TrialState
    end_reason: EndReason | None
    reason: str
    feasible: bool
    value: float | None
    figures: Figures | None = None
    spec: CompressionSpec | None = None
    architecture: Architecture | None = None
    operators: dict[str, int] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    seconds: dict[Phase, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    phases: tuple[DevicePhase, ...] = ()
    worker: str = ""
    refined_from: int | None = None
    artifacts: dict[str, str] = field(default_factory=dict)
    measurement: Measurement | None = None
    search_percent: float | None = None
    decision_percent: float | None = None

    @property
    def is_complete(self) -> bool:
        """Return True for a trial with a value."""
        return self.state is TrialState.COMPLETE

    @property
    def pruned_at(self) -> Stage | None:
        """Return the stage that rejected the candidate; None where none did."""
        if self.state is not TrialState.PRUNED or self.end_reason is None:
            return None
        return self.end_reason.stage

    @property
    def network(self) -> int:
        """Return the trial that found this network: its final trainings are the same network."""
        if self.refined_from is None:
            return self.number
        return self.refined_from


@dataclass(frozen=True)
class StudyResults:
    """A whole study.

    `constraint_percent` is the least test accuracy, `required_percent` that with its margin on the
    validation images. `compared`: `base` and `best` were measured side by side in one run.
    `decision_images`: the validation images that decide whether the constraint is met; 0 where
    unknown. `tie_tolerance`: candidates within this share of the best value count as equal.
    """

    name: str
    objective: Objective
    data: str
    data_source: str
    constraint_percent: float
    required_percent: float
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
    decision_images: int = 0
    test_images: int = 0
    tie_tolerance: float = 0.0

    @property
    def complete(self) -> list[TrialResult]:
        """Return the trials with a value."""
        return [trial for trial in self.trials if trial.is_complete]

    @property
    def best_result(self) -> TrialResult | None:
        """Return the trial that found the best candidate."""
        for trial in self.trials:
            if trial.number == self.best_trial:
                return trial
        return None

    @property
    def tried_against_constraint(self) -> int:
        """Return how many networks, the best and others as good, were tried against the constraint.

        Each of them would be the best if it met the constraint on the images that decide, so the
        luckiest one is. A network that misses the constraint on the search's own images is not
        tried on the others.
        """
        best = self.best_result
        if best is None or best.value is None:
            return 0
        worst_value = self.objective.worsened(best.value, max(self.tie_tolerance, SHORTLIST_WITHIN))
        networks = set()
        for trial in self.trials:
            if trial.value is None or self.objective.is_better(worst_value, trial.value):
                continue
            if (trial.search_percent or 0.0) >= self.constraint_percent:
                networks.add(trial.network)
        return len(networks)

    @property
    def front(self) -> list[tuple[TrialResult, Figures]]:
        """Return the Pareto front of latency and accuracy, the fastest first."""
        measured = []
        for trial in self.complete:
            if trial.figures is not None:
                measured.append((trial, trial.figures))
        measured.sort(key=_by_latency)
        front: list[tuple[TrialResult, Figures]] = []
        for trial, figures in measured:
            if not front or figures.accuracy_percent > front[-1][1].accuracy_percent:
                front.append((trial, figures))
        return front

    @property
    def speedup(self) -> float | None:
        """Return how many times faster the best candidate is than the unpruned float base."""
        if self.base is None or self.best is None:
            return None
        return self.base.latency_ms / self.best.latency_ms


def first_trained(trials: Iterable[TrialResult]) -> dict[CompressionSpec, int]:
    """Return the first trial that trained each network, by its spec without the quantization."""
    found: dict[CompressionSpec, int] = {}
    for trial in trials:
        if trial.spec is not None and trial.curve:
            found.setdefault(weights_only(trial.spec), trial.number)
    return found


def _by_latency(measured: tuple[TrialResult, Figures]) -> tuple[float, float]:
    figures = measured[1]
    return figures.latency_ms, -figures.accuracy_percent
