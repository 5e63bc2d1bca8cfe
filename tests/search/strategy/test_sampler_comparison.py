"""The table of candidates, what is learnt from it, and the comparison of samplers on that."""

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import candidates
import optuna
import pytest
import sampler_comparison as comparison
from candidates import Recorded
from record_factories import complete, measured, pruned, waiting
from surrogate import Surrogate

from compress.spec import CompressionSpec
from search.config import StudyConfig, load_config
from search.evaluation import Accuracy, ArchitectureResult, EndReason
from search.storage.open_storage import open_storage

ODD = CompressionSpec(
    pruning_ratios=(17 / 32, 0.123456, *(0.71828,) * 12),
    dropped_blocks=(2, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    stem_stride=2,
    epochs=4,
    quantization="int8",
    io_dtype="int8",
)


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    return load_config(comparison.STUDY)


@pytest.fixture(scope="module")
def table() -> list[Recorded]:
    """Thirty candidates: their speed follows from the arithmetic, their accuracy from it and the epochs."""
    recorded = []
    for fraction, epochs, quantization in product((0.1, 0.3, 0.5, 0.7, 0.85), (4, 12, 44), ("int8", "float32")):
        ratios = (fraction,) * 14
        spec = replace(ODD, pruning_ratios=ratios, epochs=epochs, quantization=quantization, io_dtype="float32")
        macs = spec.architecture().macs
        latency_ms = 1e-3 + macs / (4e7 if quantization == "int8" else 2e7)
        recorded.append(Recorded(spec, latency_ms, 100 - 900 * macs**-0.2 * epochs**-0.15))
    return recorded


def test_the_collector_keeps_architectures_and_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(study_name="latency", storage=storage)
    child = replace(ODD, parent=replace(ODD, quantization="float32", io_dtype="float32"))
    macs = ODD.architecture().macs
    found = ArchitectureResult(macs, 0.01, (measured(0.01234),), advantage=0.5)
    accuracy = Accuracy(65.125, 64.0, 66.0)
    study.add_trials(
        [
            complete(0.01, spec=ODD, architecture=found, accuracy=accuracy, measurement=measured(0.01234)),
            pruned(EndReason.SLOWER_ARCHITECTURE, spec=child, architecture=found),
            pruned(EndReason.MAC_BOUND, spec=replace(ODD, stem_stride=4)),  # given up before it was measured
            waiting(spec=ODD, architecture=found),
        ]
    )

    monkeypatch.setattr(candidates, "TABLE", tmp_path / "results" / "candidates.csv")
    candidates.main([str(tmp_path)])
    first = candidates.TABLE.read_bytes()
    candidates.main([str(tmp_path / "study.db")])
    assert candidates.TABLE.read_bytes() == first
    trained, untrained = candidates.read(candidates.TABLE)
    assert trained.spec.architecture() == ODD.architecture() == untrained.spec.architecture()
    assert (trained.latency_ms, trained.accuracy_percent, trained.spec.epochs) == (0.01234, 65.12, 4)
    assert (untrained.accuracy_percent, untrained.spec.epochs) == (None, 8)
    assert [line["macs"] for line in candidates.read_lines(candidates.TABLE)] == [str(ODD.architecture().macs)] * 2


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"study.db does not exist; name the folder"):
        candidates.main([str(tmp_path)])


def test_a_trial_that_is_read_again_replaces_its_line() -> None:
    line = dict.fromkeys(candidates.COLUMNS, "1")
    assert candidates.merge([line], [{**line, "accuracy_percent": "70"}]) == [{**line, "accuracy_percent": "70"}]
    assert [row["trial"] for row in candidates.merge([{**line, "trial": "10"}, {**line, "trial": "9"}])] == ["9", "10"]


@pytest.mark.slow
def test_the_surrogate_rises_with_arithmetic_and_epochs(table: list[Recorded]) -> None:
    plain, cautious = Surrogate(table, ["int8", "float32"]), Surrogate(table, ["int8", "float32"], 1.0)
    specs = [replace(ODD, pruning_ratios=(fraction,) * 14) for fraction in (0.8, 0.6, 0.4, 0.2)]
    latencies = [plain.latency_ms(spec) for spec in specs]
    accuracies = [plain.accuracy_percent(spec) for spec in specs]
    assert latencies == sorted(latencies) and accuracies == sorted(accuracies)
    assert plain.accuracy_percent(specs[0], 4) < plain.accuracy_percent(specs[0], 40)
    assert plain.latency_ms(specs[0]) == pytest.approx(1e-3 + specs[0].architecture().macs / 4e7, rel=0.25)
    quality = plain.quality()
    assert quality["latency rank correlation"] > 0.95 and quality["accuracy rank correlation"] > 0.95
    far = CompressionSpec(pruning_ratios=(0.5,) * 14, stem_stride=4, quantization="int8")
    assert cautious.accuracy_percent(far) < plain.accuracy_percent(far)
    assert cautious.latency_ms(far) > plain.latency_ms(far)


@pytest.mark.slow
def test_two_samplers_are_compared(table: list[Recorded], config: StudyConfig) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    said: list[str] = []
    ways = {name: comparison.WAYS[name] for name in ("TPE, told slow ones", comparison.OURS)}
    runs = comparison.compare(table, config, ways, seeds=1, trials=12, say=said.append)
    assert set(runs) == {(caution, name) for caution in comparison.CAUTIONS for name in ways}
    assert runs == comparison.compare(table, config, ways, seeds=1, trials=12, say=said.append)
    for (steps,) in runs.values():
        assert len(steps) == 12
        assert [step.best for step in steps] == sorted((step.best for step in steps), reverse=True)
        assert steps[-1].trainings <= 12 and steps[-1].minutes <= 12 * 22 / 60
    assert any(name in line for name in ways for line in said)
    assert all(row["at"] in comparison.AT[row["by"]] for row in comparison.rows(runs))
    drawing = comparison.chart(runs, "a title")
    assert drawing.startswith("<svg") and drawing.count("<polygon") == 4 and "nan" not in drawing


def test_a_sampler_that_lacks_a_package_is_told(table: list[Recorded], config: StudyConfig) -> None:
    def lacking(seed: int, start: dict[str, object]) -> optuna.samplers.BaseSampler:
        raise ImportError("no torch\nmore")

    said: list[str] = []
    assert comparison.compare(table, config, {"GP": comparison.Way(lacking)}, 1, say=said.append) == {}
    assert sum(line.split() == ["GP", "left", "out:", "no", "torch"] for line in said) == len(comparison.CAUTIONS)


def test_the_best_at_a_cost_that_was_not_reached_is_unknown() -> None:
    steps = [comparison.Step(math.inf, 0, 1.0), comparison.Step(5.0, 10, 4.0), comparison.Step(4.0, 11, 6.0)]
    assert comparison.best_at(steps, "trainings", 10) == 5.0
    assert comparison.best_at(steps, "trainings", 20) is None
    assert comparison.best_at(steps, "minutes", 5) == 5.0
    assert comparison.best_at(steps, "trials", 1) is None
    assert comparison.best_at(steps, "trials", 3) == 4.0
    assert json.dumps(comparison.best_at(steps, "trials", 25)) == "null"
