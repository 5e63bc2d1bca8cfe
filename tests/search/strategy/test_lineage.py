"""Whose weights a candidate begins with, and how the best are changed into new candidates."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from compress.spec import CompressionSpec
from search.config import StudyConfig
from search.config_sections import FinalTraining, Space
from search.runner.final_training import enqueue_finalist, finalists
from search.runner.trial import finalist_spec
from search.storage.study_state import FINALIST, FORMAT, best_trial, best_trials, contenders
from search.strategy.mutation import mutate, propose
from search.strategy.search_space import suggest
from search.strategy.warm_start import FARTHEST, descend, distance, weights_only

DROPPED = (0, *range(4, 13))
SPACE = Space(round_to=[1, 4], stem_stride=[1, 2, 4], epochs=(4, 4), distill_weight=(0.0, 0.0))
CONFIG = StudyConfig(name="test", road="latency", space=SPACE, final_training=FinalTraining(candidates=3))
SPEC = CompressionSpec((0.5, 0.0, 0.75, 0.5, 0.625, *(0.0,) * 9), dropped_blocks=DROPPED, stem_stride=2, epochs=4)


def thinner(share: float) -> CompressionSpec:
    """SPEC with fewer channels in its last block."""
    return replace(SPEC, pruning_ratios=(*SPEC.pruning_ratios[:4], share, *(0.0,) * 9))


def test_the_nearest_trained_candidate_is_the_parent() -> None:
    near, far, deeper = thinner(0.7), thinner(0.9), replace(SPEC, dropped_blocks=DROPPED[1:])
    child = descend(thinner(0.75), [far, replace(near, quantization="int8", io_dtype="int8"), deeper])
    assert child == replace(thinner(0.75), parent=near)  # its training, whatever format it was converted to
    assert child.all_epochs == 8
    assert descend(SPEC, [deeper]) == SPEC  # another depth: from the base
    thin = replace(SPEC, pruning_ratios=(0.95,) * 14)
    assert distance(thin.architecture(), SPEC.architecture()) > FARTHEST
    assert descend(thin, [SPEC]).parent is None


def test_the_same_architecture_needs_no_training_again() -> None:
    trained = replace(SPEC, parent=thinner(0.5))
    asked = replace(SPEC, quantization="int8", io_dtype="int8", epochs=8)
    assert descend(asked, [trained]) == replace(trained, quantization="int8", io_dtype="int8")
    assert descend(asked, [SPEC, trained]).all_epochs == 8  # the longer trained of the two
    longer = replace(SPEC, epochs=9)
    assert descend(longer, [trained]) == replace(longer, parent=trained)  # not for long enough: it goes on from there
    aware = replace(SPEC, quantization="qat_int8")
    assert descend(aware, [trained]) == aware  # trained as a whole
    assert descend(SPEC, [aware]) == SPEC


@pytest.mark.parametrize("other", [{"distill_weight": 0.9}, {"augment": False}, {"learning_rate": 0.01}])
def test_what_was_trained_otherwise_is_not_given_for_what_was_asked(other: dict[str, Any]) -> None:
    trained = replace(SPEC, **other)
    assert descend(SPEC, [trained]) == replace(SPEC, parent=trained)  # trained as asked, from its weights
    alike = thinner(0.5)
    assert descend(SPEC, [trained, replace(SPEC, parent=alike)]).distill_weight == SPEC.distill_weight
    longer = replace(trained, epochs=40)
    assert descend(SPEC, [longer, SPEC]) == SPEC  # the same training goes before a longer one of another kind


def test_distance_counts_widths_and_strides() -> None:
    shape = SPEC.architecture()
    assert distance(shape, shape) == 0
    assert distance(shape, replace(shape, stem_width=2 * shape.stem_width)) == pytest.approx(math.log(2))
    assert distance(shape, replace(shape, stem_stride=4)) == 0.5


def asked_of(study: optuna.Study, origin: int, quantization: str | None = None) -> CompressionSpec:
    """What a finalist's trial trains, in the origin's own format or in another."""
    study.enqueue_trial({}, user_attrs={FINALIST: origin, **({FORMAT: quantization} if quantization else {})})
    return finalist_spec(study.ask(), CONFIG)


def test_a_finalist_learns_in_float_and_its_aware_twin_begins_where_that_ended() -> None:
    origin = replace(SPEC, parent=thinner(0.5), quantization="int8", io_dtype="int8", threads=2)
    study = study_of(trial(origin, 1.0, 0.0))
    first, float32, aware = (asked_of(study, 0, name) for name in (None, "float32", "qat_int8"))
    assert first == replace(origin, epochs=40, parent=weights_only(origin))
    assert weights_only(float32) == weights_only(first)
    assert aware == replace(first, epochs=10, parent=weights_only(first), quantization="qat_int8")
    assert aware.all_epochs == first.all_epochs + 10


def test_a_finalist_that_was_aware_from_the_beginning_is_trained_as_a_whole() -> None:
    origin = replace(SPEC, quantization="qat_int8", io_dtype="int8")
    assert asked_of(study_of(trial(origin, 1.0, 0.0)), 0) == replace(origin, epochs=40)


def trial(spec: CompressionSpec, value: float, constraint: float, **attrs: Any) -> optuna.trial.FrozenTrial:
    """A complete trial; it falls short of the rule by 3 points more than is predicted."""
    about = {"spec": spec.to_dict(), "constraint": constraint, "shortfall": constraint + 3, **attrs}
    about.setdefault("candidate", {"accuracy_percent": 71.8 - about["shortfall"], "sha256": str(value)})
    return optuna.trial.create_trial(value=value, user_attrs=about)


def study_of(*trials: optuna.trial.FrozenTrial) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    study.add_trials(trials)
    return study


@pytest.mark.parametrize("seed", range(20))
def test_a_proposal_is_new_and_within_the_space(seed: int) -> None:
    study = study_of(trial(SPEC, 1.0, -1.0), trial(thinner(0.7), 2.0, -1.0))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        propose(study, CONFIG, rng)
    waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert len(waiting) == 1  # nothing is proposed while something waits
    asked = suggest(study.ask(), SPACE, 0.05)
    known = (SPEC.architecture(), thinner(0.7).architecture())
    assert asked.architecture() not in known or asked.quantization == "int8"


@pytest.mark.parametrize("seed", range(5))
def test_a_fraction_of_one_value_leaves_depth_and_stride_to_change(seed: int) -> None:
    space = SPACE.model_copy(update={"pruning_ratio": (0.5, 0.5)})
    known = replace(SPEC, pruning_ratios=tuple(0.0 if layer - 1 in DROPPED else 0.5 for layer in range(14)))
    study, rng = study_of(trial(known, 1.0, -1.0)), np.random.default_rng(seed)
    while not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        propose(study, CONFIG.model_copy(update={"space": space}), rng)
    asked = suggest(study.ask(), space, 0.05)
    ratios = {asked.pruning_ratios[0], *(asked.pruning_ratios[n + 1] for n in asked.kept_blocks)}
    assert asked.kept_blocks and ratios == {0.5}


def test_mutations_reach_every_kind_of_change() -> None:
    rng = np.random.default_rng(0)
    found = [mutate(SPEC, CONFIG, rng) for _ in range(300)]
    shapes = [spec.architecture() for spec in found]
    assert {len(shape.blocks) for shape in shapes} >= {2, 3, 4}
    assert {shape.stem_stride for shape in shapes} == {1, 2, 4}
    assert {spec.quantization for spec in found} == {"float32", "int8"}
    assert {spec.round_to for spec in found} == {1, 4}
    assert len({tuple(block.stride for block in shape.blocks) for shape in shapes}) > 3


def test_a_mutation_leaves_a_block() -> None:
    rng = np.random.default_rng(0)
    last = replace(SPEC, dropped_blocks=tuple(range(1, 13)))
    assert {len(mutate(last, CONFIG, rng).kept_blocks) for _ in range(300)} == {1, 2, 3}


def test_without_a_promising_candidate_the_least_short_is_changed() -> None:
    short, hopeless = trial(SPEC, 9.0, 1.0), trial(replace(SPEC, stem_stride=4), 1.0, 30.0)
    study = study_of(short, *[hopeless] * 3)
    rng = np.random.default_rng(1)
    while not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        propose(study, CONFIG, rng)
    empty = study_of()
    propose(empty, CONFIG, rng)
    assert empty.get_trials() == []


def test_finalists_are_asked_for_by_their_promise_and_correct_it() -> None:
    study = study_of(trial(SPEC, 1.0, 0.5), trial(SPEC, 2.0, -0.4), trial(SPEC, 3.0, -2.0))
    assert enqueue_finalist(study)
    (first,) = finalists(study)
    assert first == 1  # the first falls short even of what is predicted
    study = study_of(*study.get_trials()[:3], trial(SPEC, 2.1, 0.6, **{FINALIST: 1, "shortfall": 0.6}))
    assert [t.number for t in best_trials(study, promising=True)] == [2]  # the finalist missed: so does its candidate
    assert enqueue_finalist(study)  # a point less than predicted is expected of the next, which has two to spare
    assert list(finalists(study)) == [1, 2]
    assert not enqueue_finalist(study)


def test_of_those_that_tie_the_most_accurate_is_the_best() -> None:
    close = [trial(SPEC, value, -5.0, shortfall=short) for value, short in ((1.0, -0.1), (1.019, -0.9), (1.03, -2.0))]
    best = best_trial(study_of(*close))
    assert best is not None and best.number == 1


def test_a_measurement_that_something_disturbed_costs_no_place_in_the_run_off() -> None:
    few = trial(SPEC, 1.0, -4.0), trial(SPEC, 1.5, -4.0, structure={"best_case": 0.98}), trial(SPEC, 1.4, -4.0)
    assert [t.number for t in contenders(study_of(*few))] == [1, 0]
    fom = optuna.create_study(direction="maximize")
    model = {"sha256": "slow", "accuracy_percent": 50.0}
    fom.add_trials([trial(SPEC, 80.0, -4.0), trial(SPEC, 60.0, -4.0, structure={"best_case": 158.0}, candidate=model)])
    assert [t.number for t in contenders(fom)] == [0, 1]  # 158 with all images right is 79 with half of them


def test_the_run_off_s_longer_measurements_decide_between_those_that_are_near() -> None:
    near = [(1.0, "a"), (1.01, "a"), (1.03, "b"), (1.04, "c"), (1.2, "d")]  # the second is the first's model again
    models = [{"candidate": {"sha256": name, "accuracy_percent": 72.0}} for _, name in near]
    study = study_of(*(trial(SPEC, value, -4.0, **model) for (value, _), model in zip(near, models, strict=True)))
    assert [t.number for t in contenders(study)] == [0, 2, 3]

    def best(run_off: dict[str, float]) -> int:
        study.set_user_attr("comparison", {"run_off": run_off})
        found = best_trial(study)
        assert found is not None
        return found.number

    assert best({"0": 1.2, "2": 1.0, "3": 1.1}) == 2
    assert best({"0": 1.2, "2": 1.1, "3": 1.0, "4": 0.1}) == 3  # what is not near has no say
    assert best({"2": 0.9, "3": 1.0}) == 0  # one of them was found since: the search's values until the next run-off
