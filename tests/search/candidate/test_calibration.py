"""The speed of the device at every start of a study, by times that a test gives it."""

from pathlib import Path

import numpy as np
import pytest
from scripted_device import Scripted

from compress.errors import UsageError
from search.candidate.calibration import FIRST_TRIES, MAX_TRIES, Speed, calibrate, check_speed
from search.storage.cache import Cache

DEVICE = {"cpu": "x86"}


def test_the_speed_of_the_base_opens_a_new_space_of_measurements_and_says_so(tmp_path: Path) -> None:
    cache, images = Cache(tmp_path), np.zeros((1, 32, 32, 3), np.uint8)

    def start(*ms: float) -> Speed:
        return calibrate(Scripted(*ms), cache, DEVICE, "base", b"model", images)  # type: ignore[arg-type]

    assert start(4.5, 4.0) == (4.0, 4.0, None)
    assert start(4.3) == (4.3, 4.0, None)
    assert start(5.0, 4.2) == (4.2, 4.0, None)  # disturbed once
    now_ms, space_ms, line = start(*[9.0] * MAX_TRIES)
    assert (now_ms, space_ms) == (9.0, 9.0)
    assert line is not None and "takes 9 ms here now, and took 4 ms" in line and "measured anew" in line
    assert start(8.9, 4.1) == (4.1, 4.0, None)  # as slow as then at first: the fastest known speed is sought
    assert start(2.0)[1] == 2.0  # a faster processor at once
    assert calibrate(Scripted(*[9.0] * FIRST_TRIES), cache, {"cpu": "arm"}, "base", b"", images)[1] == 9.0  # type: ignore[arg-type]


def test_the_first_of_two_speeds_that_both_fit_is_taken(tmp_path: Path) -> None:
    cache, images = Cache(tmp_path), np.zeros((1, 32, 32, 3), np.uint8)
    for known in (b"1.00", b"1.12"):
        cache.add(known, "speed", {"board": DEVICE, "base": "base"})
    assert calibrate(Scripted(1.07), cache, DEVICE, "base", b"", images) == (1.07, 1.0, None)  # type: ignore[arg-type]


def test_a_study_is_not_continued_at_another_speed() -> None:
    check_speed(4.0, 4.39, "mine")
    with pytest.raises(UsageError, match="takes 4.5 ms here now, and took 4 ms when study mine began.*close other"):
        check_speed(4.0, 4.5, "mine")
    with pytest.raises(UsageError, match="takes 3 ms .*rename the study file: what was trained is kept"):
        check_speed(4.0, 3.0, "mine")
