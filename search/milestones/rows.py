"""A line of Table 1, 2 or 3, as plain data; the tables' definitions."""

from dataclasses import dataclass

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
"""What each column means; stands under every table."""


@dataclass(frozen=True)
class Row:
    """One setting of Table 1 or 2: a pruned fraction, fine-tune epochs, a format, and what was measured of it.

    `estimated`: power and energy come from an assumed power. They are None where there was no meter at all.
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


@dataclass(frozen=True)
class Table3:
    """The line of Table 3: medians over `runs` measurements, and how far the runs lie apart.

    spreads: for each figure's field name, largest minus smallest run over the median.
    """

    road: str  # latency, energy or fom
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
        """Accuracy in percent / (latency in ms x energy in mJ)."""
        return self.test_accuracy_percent / (self.latency_ms * self.energy_mj)

    @property
    def fom_published(self) -> float:
        """The same as published entries give it: accuracy as a fraction / (s x J)."""
        return self.fom * 10_000
