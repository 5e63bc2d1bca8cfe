"""Studies with a damaged cache, measurements that cannot be trusted, and a test bench that fails."""

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import squares
from hasty import HASTY
from rich.console import Console
from squares import records_of

from compress.datasets.load import load
from edge.devices.local import LocalDevice
from edge.errors import UnavailableError
from edge.measuring.measurement import Measurement
from edge.measuring.plan import PLANS, MeasurePlan
from edge.meters.meter import open_meter
from search.evaluation import EndReason
from search.progress import Progress
from search.runner import failure_policy
from search.runner.study import run_study
from search.storage.trial_record import read_trials

pytestmark = pytest.mark.usefixtures("hasty_plans")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"garbled"], ids=["empty", "garbled"])
def test_a_damaged_cache_is_made_anew(damage: bytes, squares_copy: Path) -> None:
    """Every file of every kind, as a power cut leaves them; nothing but time is lost."""
    kinds = set()
    for path in (squares_copy / "runs" / "cache").rglob("*"):
        if path.is_file():
            kinds.add(path.relative_to(squares_copy / "runs" / "cache").parts[0])
            path.write_bytes(damage)
    assert kinds >= {"base", "bases", "weights", "model", "untrained", "labels", "structures", "measurements", "speed"}
    config = squares.read(squares.write_study(squares_copy / "after.toml", squares.SMALL, trials=1))
    shown = StringIO()
    study = run_study(config, load(str(squares_copy / "squares.npz")), Progress(Console(file=shown, width=300), 1))
    assert [record.state.name for record in read_trials(study)] == ["COMPLETE"]
    assert "is damaged; it is made anew" in shown.getvalue()


@pytest.mark.slow
def test_a_measurement_that_cannot_be_trusted_is_repeated_once(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "search", replace(HASTY["search"], max_spread=1e-9))
    config = squares.read(squares.write_study(squares_copy / "unsteady.toml", squares.SMALL, trials=1))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    first, second = read_trials(study)
    assert (first.state.name, second.state.name) == ("FAIL", "FAIL")
    assert first.end_reason is EndReason.INVALID_MEASUREMENT
    assert "the limit is" in first.message
    assert (second.params, second.retry_of) == (first.params, 0)


class Broken(LocalDevice):
    """A device whose test bench fails at every measurement of a candidate, each time for another reason."""

    failures = 0

    def measure(self, model: bytes, plan: MeasurePlan, *others: Any, **more: Any) -> Measurement:
        if plan.name == "calibration":
            return super().measure(model, plan, *others, **more)
        type(self).failures += 1
        raise UnavailableError(f"no reading for {self.failures}.0 s")


@pytest.mark.slow
def test_a_broken_test_bench_stops_the_study_with_the_first_reason_and_nothing_is_lost(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = (squares.SMALL, squares.SMALLER)
    config = squares.read(squares.write_study(squares_copy / "broken.toml", *starts, trials=2))
    data = load(str(squares_copy / "squares.npz"))
    shutil.rmtree(squares_copy / "runs" / "cache" / "structures")
    monkeypatch.setattr("search.runner.loop.TEST_BENCH_PAUSE_S", 0.0)
    words = "the test bench failed 3 times in a row; first: no reading for 1.0 s"
    with monkeypatch.context() as broken:
        opener = "search.candidate.context.open_test_bench"
        broken.setattr(opener, lambda device, meter, on_status: Broken(open_meter(meter)))
        with pytest.raises(failure_policy.TestBenchError, match=words):
            run_study(config, data, squares.silent())
    failed = records_of(squares_copy, "broken")
    assert [record.state.name for record in failed] == ["FAIL"] * 3 + ["WAITING"] * 2
    assert [record.end_reason for record in failed[:3]] == [EndReason.TEST_BENCH_UNAVAILABLE] * 3
    again = read_trials(run_study(config, data, squares.silent()))
    ended = [record for record in again if record.state.name != "FAIL"]
    assert {record.state.name for record in ended} <= {"COMPLETE", "PRUNED"}
    assert {str(record.params) for record in ended} == {str(record.enqueued) for record in failed[:2]}
