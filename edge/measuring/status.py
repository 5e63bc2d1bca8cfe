"""What a device is doing with a job, for those who wait: a phase to decide by, a text to read."""

from dataclasses import dataclass
from enum import Enum


class DevicePhase(str, Enum):
    """What a device is doing."""

    READY = "ready"
    WAITING = "waiting"
    """Others have the device, or something else on its machine is in the way."""
    COOLING = "cooling"
    IDLE_BASELINE = "idle_baseline"
    MEASURING = "measuring"
    PREDICTING = "predicting"
    POOL_CHANGED = "pool_changed"
    """A device of a pool failed, or is back."""

    __str__ = str.__str__


@dataclass(frozen=True)
class DeviceStatus:
    """A phase, and the same for a reader; nothing may be decided by the text."""

    phase: DevicePhase
    text: str


READY = DeviceStatus(DevicePhase.READY, "ready")
COOLING = DeviceStatus(DevicePhase.COOLING, "cooling down")
IDLE_BASELINE = DeviceStatus(DevicePhase.IDLE_BASELINE, "idle baseline")
MEASURING = DeviceStatus(DevicePhase.MEASURING, "measuring")
PREDICTING = DeviceStatus(DevicePhase.PREDICTING, "predicting")
WAITING_FOR_DEVICE = DeviceStatus(DevicePhase.WAITING, "waiting for another process of this machine")
WAITING_FOR_TRAINING = DeviceStatus(DevicePhase.WAITING, "waiting for a training or a conversion on this host")


def ignore(status: DeviceStatus) -> None:
    """Take a status and do nothing: the callback of those who do not want to know."""
