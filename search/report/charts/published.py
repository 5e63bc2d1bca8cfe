"""Entries of earlier years of the same competition, as their authors published them."""

from typing import NamedTuple


class Published(NamedTuple):
    """An entry, measured on another device than that of the study."""

    device: str
    name: str
    latency_ms: float
    accuracy_percent: float


PI = "a Raspberry Pi 3B+"
ODROID = "an Odroid MC1"
PUBLISHED = (
    Published(PI, "2021: MobileNet-v1, pruning ratio 0.84, int8, ONNX Runtime", 3.577, 75.64),
    Published(PI, "2023: three blocks by hand, int8, ONNX Runtime", 1.516, 70.21),
    Published(PI, "2023: unpruned MobileNet-v1, float", 19.99, 79.41),
    Published(
        ODROID, "2022: MobileNet-v1, pruning ratio 0.955, int8 (a re-run gave 68.6 %)", 0.899, 70.2
    ),
)
DATA = "cifar10"
"""The data set of the competition."""
