"""The end of a study: what has been chosen is compared with the base, and only then are test labels looked at."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import squares

from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from search.objective import Objective
from search.runner import final_comparison
from search.runner.study import run_study
from search.storage.open_storage import load_study
from search.storage.study_record import record_of
from search.storage.trial_record import read_trials
from search.strategy.ranking import best_trial, shortlist

pytestmark = pytest.mark.usefixtures("hasty_plans")


class LookedAtError(Exception):
    """Somebody looked at what is hidden."""


class Hidden:
    """As many test images or labels as there are, at which nobody may look."""

    def __len__(self) -> int:
        return 100

    def __getattr__(self, name: str) -> Any:
        raise LookedAtError(name)

    def __eq__(self, other: object) -> bool:
        raise LookedAtError("==")

    __hash__ = None  # type: ignore[assignment]  # as an array has none


class Blind(Dataset):
    """A data set whose test set is hidden; what is known of it is that it is the same."""

    test_key = "the same"


@pytest.mark.slow
@pytest.mark.parametrize("hides_images", [True, False])
def test_the_choice_is_made_without_the_test_set(
    hides_images: bool, squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images are first used to compare what has been chosen, its labels for the figures of base and best."""
    for kind in ("structures", "untrained", "model", "labels", "measurements"):
        shutil.rmtree(squares_copy / "runs" / "cache" / kind)
    config = squares.read(squares.write_study(squares_copy / "blind.toml", squares.SMALLER, trials=1))
    found = vars(load(str(squares_copy / "squares.npz")))
    fields = {name: found[name] for name in Dataset.__dataclass_fields__}
    images = Hidden() if hides_images else fields["test"][0]
    data = Blind(**{**fields, "test": (images, Hidden())})
    compared: list[bytes] = []
    original = final_comparison.test_accuracy_percent

    def spy(context: Any, model: bytes) -> float:
        compared.append(model)
        return original(context, model)

    monkeypatch.setattr("search.runner.final_comparison.test_accuracy_percent", spy)
    with pytest.raises(LookedAtError):
        run_study(config, data, squares.silent())
    assert len(compared) == (0 if hides_images else 1)  # the base, when all has been measured
    study = load_study(config)
    chosen = best_trial(read_trials(study), Objective.LATENCY, {})
    assert chosen is not None and chosen.evaluation is not None
    assert chosen.evaluation.accuracy.validation_percent >= 60
    assert record_of(study).final_comparison is None


@pytest.mark.slow
def test_base_and_shortlist_are_compared_once(squares_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = squares.read(squares_copy / "squares.toml")
    study = load_study(config)
    records = read_trials(study)
    listed = {record.number for record in shortlist(records, Objective.LATENCY)}
    found = record_of(study).final_comparison
    assert found is not None and found.best is not None
    assert set(found.values) == listed
    best = best_trial(records, Objective.LATENCY, found.values)
    assert best is not None and best.evaluation is not None
    assert (found.trial, found.best.measurement.sha256) == (best.number, best.evaluation.sha256)
    assert found.base.measurement.model_bytes > found.best.measurement.model_bytes
    # Nothing is new, so nothing is measured again.
    monkeypatch.setattr(final_comparison, "_measure_in_rounds", lambda *_: pytest.fail("it measures again"))
    run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    assert record_of(load_study(config)).final_comparison == found
