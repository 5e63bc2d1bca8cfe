"""Tables 1, 2 and 3 with figures made by hand, such as a host with an assumed power gives."""

from dataclasses import replace

from search.submission.tables.rows import Row, Table3

ACCURACIES = {
    0.05: (88.41, 90.02, 90.35),
    0.25: (31.07, 88.16, 89.04),
    0.5: (10.12, 82.35, 84.71),
    0.75: (10.00, 70.88, 74.52),
    0.9: (10.00, 47.63, 53.94),
}
"""By pruned fraction, the test accuracy after 0, 3 and 5 epochs."""

STRUCTURES = {
    0.05: (1.142, 2_911_482, 41_890_816),
    0.25: (0.7614, 1_819_338, 26_315_776),
    0.5: (0.3618, 818_666, 11_845_120),
    0.75: (0.1247, 209_946, 3_118_592),
    0.9: (0.0441, 36_558, 600_448),
}
"""By pruned fraction, the latency in ms, the parameters and the MACs."""


def row(fraction: float, epochs: int, accuracy: float, latency_ms: float, parameters: int, macs: int) -> Row:
    """A float row; memory, power and energy follow from the size and the latency."""
    return Row(
        fraction=fraction,
        epochs=epochs,
        quantization="float32",
        test_accuracy_percent=accuracy,
        peak_memory_mb=58.4 + 4.6e-6 * parameters + 0.03 * epochs,
        latency_ms=latency_ms * (1 + 0.002 * epochs),
        max_power_w=4.8,
        energy_mj=4.8 * (latency_ms * (1 + 0.002 * epochs) + 0.0009),
        estimated=True,
        model_bytes=4 * parameters + 21_000,
        parameters=parameters,
        macs=macs,
    )


BASE = row(0.0, 0, 90.80, 1.274, 3_217_226, 46_353_408)
TABLE1 = (
    BASE,
    *(
        row(fraction, epochs, accuracy, *STRUCTURES[fraction])
        for fraction, accuracies in ACCURACIES.items()
        for epochs, accuracy in zip((0, 3, 5), accuracies, strict=True)
    ),
)


def dynamic(before: Row) -> Row:
    """The same model with 8-bit weights: faster where it is large, slower where it is small."""
    return replace(
        before,
        quantization="dynamic",
        test_accuracy_percent=before.test_accuracy_percent - 0.11,
        latency_ms=0.012 + before.latency_ms * 0.8,
        energy_mj=4.8 * (0.012 + before.latency_ms * 0.8),
        peak_memory_mb=before.peak_memory_mb - 0.9,
        model_bytes=before.parameters + 38_000,
    )


TABLE2 = tuple(map(dynamic, TABLE1))

TABLE3 = Table3(
    road="latency",
    rule_percent=70.0,
    test_accuracy_percent=71.99,
    peak_memory_mb=57.31,
    latency_ms=0.005461,
    max_power_w=4.8,
    energy_mj=0.0338,
    framework="TensorFlow Lite (ai-edge-litert 2.3.0)",
    estimated=True,
    runs=3,
    spreads={"test_accuracy_percent": 0.0, "peak_memory_mb": 0.0031, "latency_ms": 0.0121, "energy_mj": 0.0118},
)
