"""Devices that fail on purpose, and what the tests of pools share."""

import time
from collections.abc import Callable

from contracts import QUICK, make_images
from models import float_model

from edge.devices.fake import FakeDevice
from edge.errors import UnavailableError
from edge.measuring.status import DeviceStatus

MODEL, IMAGES = float_model(), make_images(2)


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Failing(FakeDevice):
    """Raises the first of `faults`, once each, in place of a measurement."""

    def __init__(self, url, *faults):
        super().__init__(url)
        self.faults, self.asked, self.now = list(faults), 0, super().environment()

    def environment(self):
        return self.now

    def measure(self, *arguments):
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        return super().measure(*arguments)


def wait_until(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def gone(count=1):
    return [UnavailableError("no route to host")] * count


def measured_on(boards, times=1):
    return [boards.measure(MODEL, QUICK, IMAGES).device for _ in range(times)]


def noting(texts: list[str]) -> Callable[[DeviceStatus], None]:
    """Note the texts of the statuses that a pool reports."""
    return lambda status: texts.append(status.text)
