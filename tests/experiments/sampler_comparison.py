"""Which sampler finds the best candidate with the fewest trials: `make sampler-comparison`, under ten minutes.

A table of a few hundred candidates cannot answer all that a sampler asks in a space of 19 parameters, so regressions
fitted to it, of latency and of accuracy, answer in its place (as in NAS-Bench-301, Siems et al. 2020). They leave out
the noise of measurements, and far from the candidates of the table they guess: therefore everything is run twice, once
with guesses on the safe side, which favours those who stay where the table comes from, and once without.
"""

import argparse
import csv
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

import candidates
import numpy as np
import optuna
import record_factories as factories
from paths import STUDIES
from surrogate import Surrogate

from compress.errors import UsageError
from search.config import StudyConfig, load_config
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import predicted_violation_of, record_evaluation, record_spec
from search.strategy import mutation
from search.strategy.search_space import initial_params, suggest

STUDY = STUDIES / "latency.toml"
RESULTS = candidates.TABLE.parent
REQUIRED_PERCENT = 71.8
TRIALS = 200
AT = {"trials": (25, 50, 100, 200), "trainings": (10, 20, 40, 80), "minutes": (5, 10, 20)}
ARCHITECTURE_S, TRAINING_S = 2.0, 20.0
"""What they cost in the studies of the table."""
CAUTIONS = {1.0: "guesses on the safe side", 0.0: "guesses as they are"}
"""Standard deviations of what the table does not know, added to latency and error."""


@dataclass(frozen=True)
class Way:
    """One way to search.

    share: of mutations. tells_slow: a candidate too slow to be trained counts as a finished one with its latency; else
    as pruned, of which most samplers take no notice. penalty: so many missing points multiply a value by e, for a
    sampler that knows no constraints. trials, seeds: no more than these, where a sampler is slow.
    """

    sampler: Callable[[int, dict[str, Any]], optuna.samplers.BaseSampler]
    share: float = 0.0
    tells_slow: bool = False
    penalty: float | None = None
    trials: int = TRIALS
    seeds: int = 100


def _constraint(trial: optuna.trial.FrozenTrial) -> tuple[float]:
    return (predicted_violation_of(trial),)


def _random(seed: int, start: dict[str, Any]) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int, start: dict[str, Any]) -> optuna.samplers.BaseSampler:
    """Return that of search/strategy/sampler.py, with a seed."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10, constraints_func=_constraint)


def _cma_es(seed: int, start: dict[str, Any]) -> optuna.samplers.BaseSampler:
    others = optuna.samplers.TPESampler(seed=seed)  # of what is no number
    numbers = {name: value for name, value in start.items() if name.startswith("prune_")}
    return optuna.samplers.CmaEsSampler(
        seed=seed, x0=numbers, independent_sampler=others, warn_independent_sampling=False
    )


def _gp(seed: int, start: dict[str, Any]) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, constraints_func=_constraint)


def _nsga2(seed: int, start: dict[str, Any]) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=16, constraints_func=_constraint)


WAYS = {
    "random": Way(_random),
    "TPE": Way(_tpe),
    "TPE, told slow ones": Way(_tpe, tells_slow=True),
    "CMA-ES, told slow ones": Way(_cma_es, tells_slow=True, penalty=10.0),
    "NSGA-II, told slow ones": Way(_nsga2, tells_slow=True),
    "GP, told slow ones": Way(_gp, tells_slow=True, trials=100, seeds=3),
    "mutations 0.5, TPE": Way(_tpe, share=0.5),
    "mutations 0.8, TPE": Way(_tpe, share=0.8),
    "mutations 1.0": Way(_tpe, share=1.0),
}
OURS = "mutations 0.8, TPE"


@dataclass(frozen=True)
class Step:
    """After one more trial: the best latency in ms that keeps the rule, or infinity, and what it has cost so far."""

    best: float
    trainings: int
    minutes: float


def run(way: Way, seed: int, surrogate: Surrogate, config: StudyConfig, trials: int) -> list[Step]:
    """One study on the surrogate. Raises ImportError where the sampler lacks a package."""
    starts = initial_params(config)
    with warnings.catch_warnings(), patch.object(mutation, "MUTATION_SHARE", way.share):
        warnings.simplefilter("ignore")  # of what is experimental or deprecated
        study = optuna.create_study(sampler=way.sampler(seed, starts[0]))
        for start in starts:
            study.enqueue_trial(start)
        return list(_steps(study, way, np.random.default_rng(seed), surrogate, config, min(trials, way.trials)))


def _steps(
    study: optuna.Study, way: Way, rng: np.random.Generator, surrogate: Surrogate, config: StudyConfig, trials: int
) -> Iterator[Step]:
    """Do as `run_trial`: the architecture first, and no training for what cannot win."""
    history = TrialHistory(study)
    best, trainings, seconds = math.inf, 0, 0.0
    measured: list[tuple[int, float]] = []
    for _ in range(trials):
        mutation.propose(study, history.records(), config, rng)
        trial = study.ask()
        try:
            spec = suggest(trial, config.space, config.training.learning_rate)
        except UsageError:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            yield Step(best, trainings, seconds / 60)
            continue
        record_spec(trial, spec)
        macs, latency_ms = spec.architecture().macs, surrogate.latency_ms(spec)
        bound = config.road.bound(macs, measured)
        if bound is None or bound < best:
            seconds += ARCHITECTURE_S
            measured.append((macs, latency_ms))
        if latency_ms < best and (bound is None or bound < best):
            violation = REQUIRED_PERCENT - surrogate.accuracy_percent(spec)
            record_evaluation(trial, factories.evaluation(latency_ms, constraint_violation=violation), {}, "")
            study.tell(trial, latency_ms * math.exp(max(0.0, violation) / way.penalty if way.penalty else 0.0))
            trainings, seconds = trainings + 1, seconds + TRAINING_S
            best = latency_ms if violation <= 0 else best
        elif way.tells_slow:
            study.tell(trial, latency_ms)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        yield Step(best, trainings, seconds / 60)


def best_at(steps: Sequence[Step], by: str, at: float) -> float | None:
    """The best after so many trials, trainings or minutes; None where the run was shorter, or had none."""
    if by == "trials":
        reached = steps[:at] if len(steps) >= at else []
    else:
        reached = [step for step in steps if getattr(step, by) <= at] if getattr(steps[-1], by) >= at else []
    return reached[-1].best if reached and math.isfinite(reached[-1].best) else None


Runs = dict[tuple[float, str], list[list[Step]]]
"""By caution and sampler: a run for each seed."""


def compare(
    table: Sequence[candidates.Recorded],
    config: StudyConfig,
    ways: dict[str, Way],
    seeds: int,
    trials: int = TRIALS,
    say: Callable[[str], object] = print,
) -> Runs:
    """Run every sampler with every seed; those that lack a package are told and left out."""
    runs: Runs = {}
    for caution, meaning in CAUTIONS.items():
        surrogate = Surrogate(table, config.space.quantization, caution)
        say(f"\n{meaning}: the best in us, median over the seeds, after")
        say(" " * 24 + "".join(f"{f'{by}':>{7 * len(at)}s}" for by, at in AT.items()))
        say(" " * 24 + "".join(f"{value:7d}" for at in AT.values() for value in at) + "   trainings in all, seeds")
        for name, way in ways.items():
            try:
                found = [run(way, seed, surrogate, config, trials) for seed in range(min(seeds, way.seeds))]
            except ImportError as error:
                say(f"{name:24s}left out: {str(error).splitlines()[0]}")
                continue
            runs[caution, name] = found
            cells = [_middle([best_at(steps, by, value) for steps in found]) for by in AT for value in AT[by]]
            say(f"{name:24s}{''.join(cells)}{median(steps[-1].trainings for steps in found):19.0f}{len(found):7d}")
    return runs


def _middle(values: Sequence[float | None]) -> str:
    known = [math.inf if value is None else value * 1000 for value in values]
    return f"{median(known):7.2f}" if math.isfinite(median(known)) else f"{'-':>7s}"


def rows(runs: Runs) -> list[dict[str, Any]]:
    """What samplers.csv holds."""
    return [
        {"caution": caution, "sampler": name, "seed": seed, "by": by, "at": at, "best": f"{best:.4g}"}
        for (caution, name), found in runs.items()
        for seed, steps in enumerate(found)
        for by in AT
        for at in AT[by]
        if (best := best_at(steps, by, at)) is not None
    ]


WIDE, HIGH, LEFT, TOP, EVERY = 150, 170, 46, 46, 4
TICKS_US = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24)


def chart(runs: Runs, title: str) -> str:
    """An SVG: for each sampler its median over the seeds, its range, and in grey the median of ours."""
    ends = [step.best for found in runs.values() for steps in found for step in steps if math.isfinite(step.best)]
    low, high = (math.log(end) for end in (min(ends, default=1e-3) * 0.95, max(ends, default=2e-3) * 1.05))
    names = list(dict.fromkeys(name for _, name in runs))
    length = max(len(steps) for found in runs.values() for steps in found)

    def line(values: Sequence[float], left: float, top: float) -> str:
        places = sorted({*range(0, len(values), EVERY), len(values) - 1})
        return " ".join(
            f"{left + (WIDE - 12) * (n + 1) / length:.0f},"
            f"{top + (HIGH - 30) * (high - min(high, math.log(values[n]))) / (high - low):.1f}"
            for n in places
        )

    parts = [f'<text x="6" y="16" font-size="13">{title}</text>']
    for (caution, name), found in runs.items():
        left = LEFT + WIDE * names.index(name)
        top = TOP + (HIGH + 14) * list(CAUTIONS).index(caution)
        if name == names[0]:
            parts.append(f'<text x="6" y="{top - 18}" font-weight="bold">{CAUTIONS[caution]}</text>')
            for tick in TICKS_US:
                if low < math.log(tick / 1000) < high:
                    *_, y = line([tick / 1000], left, top).split(",")
                    parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{tick}</text>')
        at = [list(column) for column in zip(*([step.best for step in steps] for steps in found), strict=True)]
        middle = [median(column) for column in at]
        band = line([max(c) for c in at], left, top).split() + line([min(c) for c in at], left, top).split()[::-1]
        parts.append(f'<rect x="{left}" y="{top}" width="{WIDE - 12}" height="{HIGH - 30}" fill="none" stroke="#ccc"/>')
        parts.append(f'<polygon points="{" ".join(band)}" fill="#2a6fb0" opacity="0.2"/>')
        ours = runs.get((caution, OURS))
        if ours and name != OURS:
            grey = [median(column) for column in zip(*([step.best for step in steps] for steps in ours), strict=True)]
            parts.append(f'<polyline points="{line(grey, left, top)}" fill="none" stroke="#999"/>')
        parts.append(f'<polyline points="{line(middle, left, top)}" fill="none" stroke="#2a6fb0" stroke-width="2"/>')
        last = f"{middle[-1] * 1000:.2f}" if math.isfinite(middle[-1]) else "none"
        parts.append(f'<text x="{left + 2}" y="{top - 4}">{name}: {last}</text>')
    size = LEFT + WIDE * len(names), TOP + (HIGH + 14) * len(CAUTIONS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" '
        f'font-size="10"><rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    """Compare, print, write samplers.csv, samplers.json and samplers.svg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args().seeds
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, config = candidates.read(candidates.TABLE), load_config(STUDY)
    if not table:
        parser.exit(1, f'{candidates.TABLE} is not there; make it with: make candidates RUNS="runs/latency"\n')
    about = {"candidates": len(table), **Surrogate(table, config.space.quantization).quality(), "seeds": seeds}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    runs = compare(table, config, WAYS, seeds)
    with (RESULTS / "samplers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("caution", "sampler", "seed", "by", "at", "best"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(runs))
    (RESULTS / "samplers.json").write_text(json.dumps(about, indent=1) + "\n")
    title = (
        f"Best latency [us] at {REQUIRED_PERCENT} % and more over {TRIALS} trials on a surrogate of {len(table)} "
        f"candidates; median and range of up to {seeds} seeds; grey: {OURS}"
    )
    (RESULTS / "samplers.svg").write_text(chart(runs, title))
    print(f"wrote samplers.csv, samplers.json and samplers.svg to {RESULTS}")


if __name__ == "__main__":
    main()
