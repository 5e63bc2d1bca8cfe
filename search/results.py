"""What a study has found, as plain data: read from the storage once, shown as table, CSV, JSON and HTML."""

from dataclasses import dataclass, field
from typing import Any

from compress.architecture import Architecture
from compress.spec import CompressionSpec


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
class TrialResult:
    """One trial, whatever became of it; `curve` is the validation accuracy in percent after each epoch."""

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
    validation_images: int = 0  # 0: a study of before they were stored
    test_images: int = 0
    tie_tolerance: float = 0.0  # candidates within this share of the best value count as equal

    @property
    def speedup(self) -> float | None:
        """How many times faster the best candidate is than the unpruned float base."""
        return self.base.latency_ms / self.best.latency_ms if self.base and self.best else None
