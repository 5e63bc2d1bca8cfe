"""The end of a search: its most promising candidates, trained on for longer and tried in every format."""

import time
from collections.abc import Callable

import optuna

from compress.quantization import Quantization
from search.candidate.accuracy import stored_accuracy
from search.candidate.context import Bench
from search.runner.loop import optimize
from search.runner.trial import run_trial
from search.storage.study_state import (
    FINALIST,
    FORMAT,
    OUT_OF_TIME,
    best_value,
    counted,
    is_close,
    is_finalist,
    without_first_tries,
)

QAT_LOSS = 0.5
"""Points of accuracy that quantization after training may cost before training is made aware of it."""
NEARLY = 2.0
"""Points that the first finalist may lack of being promising: one gained 5.8 in 8 epochs where 3.8 were predicted."""
FAR_BEHIND = 2.0
"""A structure so many times worse than the best was tells that its format suits this device for no finalist: int16x8
takes 20 times as long as float32 on x86."""
TWICE = "twice there"
"""So begins the reason of a finalist that another worker had asked for as well."""


def finish(study: optuna.Study, bench: Bench, search_on: Callable[[], bool]) -> None:
    """Train on the most promising candidate, and the next, until the budget ends, each in all formats.

    Where none is promising, `search_on()` runs one more trial of the search, or says that none is left: what a
    finalist has learnt makes others promising that descend from it.
    """
    wanted = bench.config.final_training
    tried: set[int] = set()  # a format that the budget's end cut off is not asked for again and again
    while wanted.candidates and bench.deadline_s > time.monotonic() and not bench.orphaned():
        before, hopeless = finalists(study), hopeless_formats(study)
        for origin, (first, *others) in before.items():
            formats = [] if others or origin in tried else _other_formats(first, wanted.quantization)
            for quantization in (name for name in formats if name.post_training not in hopeless):
                study.enqueue_trial(first.params, user_attrs={FINALIST: origin, FORMAT: quantization.value})
                tried.add(origin)
        train_waiting_finalists(study, bench)
        if len(before) < wanted.candidates and enqueue_finalist(study):
            train_waiting_finalists(study, bench)
            if len(finalists(study)) == len(before):  # cut off by the budget's end
                return
        elif not search_on():
            return


def _other_formats(trial: optuna.trial.FrozenTrial, formats: list[Quantization]) -> list[Quantization]:
    """The formats to try a trained finalist in; quantization-aware training where int8 costs more than QAT_LOSS."""
    about = trial.user_attrs
    if "candidate" not in about:
        return []
    used, curve = about["spec"]["quantization"], trial.intermediate_values
    loss = curve[max(curve)] - stored_accuracy(about["candidate"]).search_percent
    aware = used == Quantization.INT8 and loss > QAT_LOSS
    return [name for name in formats if name != used and (aware or not name.needs_aware_training)]


def hopeless_formats(study: optuna.Study) -> set[Quantization]:
    """The formats in which a finalist was given up for its structure, FAR_BEHIND the best that there was."""
    trials = study.get_trials(deepcopy=False)
    found = set()
    for trial in trials:
        about = trial.user_attrs
        if trial.state != optuna.trial.TrialState.PRUNED or not is_finalist(trial) or "structure" not in about:
            continue
        if about["structure"].get("advantage", 1.0) * FAR_BEHIND < 1:
            found.add(Quantization(about["spec"]["quantization"]).post_training)
    return found


def run_once(trial: optuna.Trial, bench: Bench) -> float:
    """As `run_trial`, and a finalist that is there twice is given up: two workers may ask for it at the same time."""
    if is_finalist(trial):
        origin, quantization = trial.user_attrs[FINALIST], trial.user_attrs.get(FORMAT)
        for other in finalists(trial.study).get(origin, []):
            if other.number < trial.number and other.user_attrs.get(FORMAT) == quantization:
                raise optuna.TrialPruned(f"{TWICE}: trial {other.number} is the same finalist in the same format")
    return run_trial(trial, bench)


def train_waiting_finalists(study: optuna.Study, bench: Bench) -> None:
    """Run the finalists that were asked for and not run: of this run, or of one that was stopped among them."""

    def left() -> int:
        waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        return sum(map(is_finalist, waiting))

    def run_one(trial: optuna.Trial, bench: Bench) -> float:
        if not is_finalist(trial) and counted(study.get_trials(deepcopy=False)) > bench.config.budget.trials:
            raise optuna.TrialPruned("another worker took the finalist, and the budget has no trial left")
        return run_once(trial, bench)

    optimize(study, bench, run_one, left)


def finalists(study: optuna.Study) -> dict[int, list[optuna.trial.FrozenTrial]]:
    """The finalists' trials by the trial that each of them began with.

    Not those that the budget's end cut off, that were asked for again, or that were there twice.
    """
    found: dict[int, list[optuna.trial.FrozenTrial]] = {}
    trials = study.get_trials(deepcopy=False)
    for trial in without_first_tries(trials):
        if is_finalist(trial) and not trial.user_attrs.get("reason", "").startswith((OUT_OF_TIME, TWICE)):
            found.setdefault(trial.user_attrs[FINALIST], []).append(trial)
    return found


def enqueue_finalist(study: optuna.Study) -> bool:
    """Ask for the most promising candidate once more, to be trained to its end; whether there was one.

    What the finalists so far had more, or less, than was predicted of them is expected of the next one too. The first
    may be one that is only nearly promising, where there is nothing better: what it reaches tells of the others.
    """
    trials = study.get_trials(deepcopy=False)
    asked = finalists(study)
    # By the images of the search alone: those that decide about a finalist must not choose the next one.
    surprises = [
        trials[origin].user_attrs["constraint"] - tries[0].user_attrs["constraint"]
        for origin, tries in asked.items()
        if "shortfall" in tries[0].user_attrs
    ]
    surprise = sum(surprises) / len(surprises) if surprises else 0.0
    bar = best_value(study)
    maximise = study.direction == optuna.study.StudyDirection.MAXIMIZE
    complete = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE and not is_finalist(t)]
    for trial in sorted(complete, key=lambda trial: trial.value or 0.0, reverse=maximise):
        value = trial.value or 0.0
        if bar is not None and not is_close(value, bar) and (value > bar) != maximise:
            return False  # neither this one nor those behind it can win
        if trial.number not in asked and trial.user_attrs["constraint"] <= surprise:
            study.enqueue_trial(trial.params, user_attrs={FINALIST: trial.number})
            return True
    nearest = min(complete, key=lambda trial: float(trial.user_attrs["constraint"]), default=None)
    if asked or bar is not None or nearest is None or nearest.user_attrs["constraint"] > NEARLY:
        return False
    study.enqueue_trial(nearest.params, user_attrs={FINALIST: nearest.number})
    return True
