"""Rows of Tables 1, 2 and 3 as plain data, the columns' definitions, and the rows that the rules require."""

from dataclasses import dataclass

from compress.errors import UsageError
from compress.quantization import Quantization

Key = tuple[float, int, str]
"""The key of a row: pruning ratio, epochs, quantization."""
_PRUNED = tuple((fraction, epochs) for fraction in (0.05, 0.25, 0.5, 0.75, 0.9) for epochs in (0, 3, 5))
REQUIRED: dict[str, tuple[Key, ...]] = {
    "m1": tuple((*setting, Quantization.FLOAT32) for setting in _PRUNED),
    "m2": tuple((*setting, Quantization.DYNAMIC) for setting in ((0.0, 0), *_PRUNED)),
}
"""The settings that the rules of M1 and M2 require; for M2 also dynamic quantization without pruning."""

DEFINITIONS = {
    "test accuracy": "share of all test images that the saved model labels correctly, run by the device's interpreter",
    "maximum memory": "peak resident set of a fresh process that loads and runs this one model, Python and the runtime "
    "included, test images excluded; 1 MB = 10^6 bytes",
    "average latency": "mean time inside interpreter.invoke() for one image over whole passes of the test set, one "
    "image at a time, images already in memory; the median of the windows",
    "maximum power": "largest power reading of the whole device inside any window",
    "average energy": "mean power of the whole device x time per image, setting the input and fetching the output "
    "included; idle power is not subtracted; the median of the windows",
    "FoM": "accuracy in % / (latency in ms x energy in mJ); published entries use fractions, seconds and joules: "
    "theirs = ours x 10,000",
}
"""The meaning of each column, shown under every table."""


@dataclass(frozen=True)
class Row:
    """One setting of Table 1 or 2 with its measured figures.

    fraction: the pruning ratio.
    epochs: the epochs of fine-tuning.
    estimated: power and energy come from an assumed power. They are None where there was no meter at all.
    """

    fraction: float
    epochs: int
    quantization: str
    test_accuracy_percent: float
    peak_memory_mb: float
    latency_ms: float
    max_power_w: float | None
    energy_mj: float | None
    estimated: bool
    model_bytes: int
    parameters: int
    macs: int

    def __post_init__(self) -> None:
        check_percent("test_accuracy_percent", self.test_accuracy_percent)
        if not self.latency_ms > 0:
            raise UsageError(f"latency_ms must be > 0, got {self.latency_ms}")

    @property
    def key(self) -> Key:
        """Return what identifies the row in a table."""
        return self.fraction, self.epochs, self.quantization


@dataclass(frozen=True)
class Table3:
    """The line of Table 3: medians over `runs` measurements, and how much the runs differ.

    rule_percent: the required test accuracy.
    spreads: for each figure's field name, largest minus smallest run over the median.
    """

    road: str  # latency, energy or fom
    rule_percent: float
    test_accuracy_percent: float
    peak_memory_mb: float
    latency_ms: float
    max_power_w: float
    energy_mj: float
    framework: str
    estimated: bool
    runs: int
    spreads: dict[str, float]

    @property
    def fom(self) -> float:
        """Return accuracy in percent / (latency in ms x energy in mJ)."""
        return self.test_accuracy_percent / (self.latency_ms * self.energy_mj)

    @property
    def fom_published(self) -> float:
        """Return the FoM as published entries give it: accuracy as a fraction / (s x J)."""
        return self.fom * 10_000


def check_percent(name: str, value: object) -> None:
    """Raise UsageError unless `value` is a number within 0..100."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 100:
        raise UsageError(f"{name} must be a number within 0..100, got {value!r}")
