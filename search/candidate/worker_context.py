"""What a worker knows while it runs trials."""

import os
import platform
from dataclasses import dataclass
from functools import cached_property

from compress.errors import UsageError
from edge.devices.device import Device
from search.config import StudyConfig
from search.objective import Objective
from search.progress import Progress


@dataclass(frozen=True)
class WorkerContext:
    """A worker of a study. `parent_pid` is the process that started it, None where a person did."""

    config: StudyConfig
    progress: Progress
    parent_pid: int | None

    @property
    def objective(self) -> Objective:
        """Return the objective of the study."""
        return self.config.road

    def is_orphaned(self) -> bool:
        """Return True where the process that started this one is gone."""
        return self.parent_pid is not None and os.getppid() != self.parent_pid

    @cached_property
    def worker(self) -> str:
        """Return the name of this process among the workers of the study: host:pid."""
        return f"{platform.node()}:{os.getpid()}"


def require_meter(objective: Objective, device: Device) -> None:
    """Raise UsageError where the objective needs a meter and the device has none."""
    if objective.needs_power and not device.measures_power:
        raise UsageError(f"road {objective} needs a meter, {device.url} has none; name one with --meter")
