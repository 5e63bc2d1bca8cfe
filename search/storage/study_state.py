"""What a study holds: who works on it, what is asked for again, the best of it. Needs no TensorFlow."""

import copy
import fcntl
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from compress.errors import UsageError
from search.candidate.accuracy import stored_accuracy
from search.config import StudyConfig
from search.report.results import RUN_OFF_WITHIN
from search.storage.open import has_file, open_storage, shown, storage_url

INTERRUPTED = "interrupted"
"""The reason of a trial that Ctrl-C or a kill ended."""
SECOND_TRY = "second try of"
FINALIST = "finalist of"
OUT_OF_TIME = "out of time"
"""So begins the reason of a trial that the budget's end cut off."""
BEST, LATEST = 25, 1000
"""What a large study's sampler learns from: TPE takes at most 25 trials for good ones, and old ones weigh little."""
TIE = 0.02
"""Values closer than this share count as equal, and the more accurate candidate wins, as the rules of the competition
have it. Medians of repeated measurements of one model vary by 1.4 % (`make bench`)."""
RUN_OFF = 4
"""So many of the best are measured again by the closing plan, which decides between them."""
FORMAT = "quantization"
"""The format in which a finalist is tried, where it is not its candidate's."""
WORKER = "worker"
"""Who runs a trial: host:pid."""
ASKED_AGAIN = "asked again"
"""Marks a trial whose candidate was enqueued once more: it does not count."""
Trials = Sequence[FrozenTrial]


class Lock:
    """Who works on a study on this host: any number of workers share it, and a run that begins has it alone for that.

    The kernel lets go when a process ends, however it ends. Use it in a `with`; it makes the study's folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "study.lock"

    def __enter__(self) -> "Lock":
        self._file = self._path.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def alone(self) -> None:
        """Keep every other process out of the study. Raises UsageError when one is at work."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{self._path} is held by another run of this study; wait for it, stop it, or join it with "
                "`thrones worker`"
            ) from error

    def share(self) -> None:
        """Let others join in, or join them."""
        fcntl.flock(self._file, fcntl.LOCK_SH)


def asked_params(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was asked for, and what it has chosen besides so far."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def ask_again(study: optuna.Study, number: int, *, once: bool) -> bool:
    """Enqueue the candidate of trial `number` once more; whether it was: with `once`, not what was enqueued so before.

    `once` is for what the candidate itself may be to blame for. A trial that was cut off while it was choosing keeps
    what it was asked for.
    """
    trial = study.get_trials(deepcopy=False)[number]
    if once and SECOND_TRY in trial.user_attrs:
        return False
    kept = {key: trial.user_attrs[key] for key in (FINALIST, FORMAT, SECOND_TRY) if key in trial.user_attrs}
    study.enqueue_trial(asked_params(trial), user_attrs={**kept, **({SECOND_TRY: number} if once else {})})
    return True


def retry_stale(study: optuna.Study, trial: FrozenTrial) -> None:
    """Ask once more for what a worker was doing when it fell silent; Optuna has given the trial up."""
    ask_again(study, trial.number, once=True)


def give_up_stale(study: optuna.Study) -> None:
    """Have the trials of silent workers given up now; Optuna does so only before it chooses a new one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # called experimental since Optuna 2.9
        optuna.storages.fail_stale_trials(study)


def reclaim(study: optuna.Study, is_dead: Callable[[str | None], bool]) -> None:
    """Give up the running trials of these workers (None: one that had not yet said who it is), and enqueue each again.

    Where another worker gives one up at the same time, that will do.
    """
    storage = study._storage  # Optuna has no other way to end a trial that this process has not begun
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        if not is_dead(trial.user_attrs.get(WORKER)):
            continue
        trial_id = trial._trial_id
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            if ask_again(study, trial.number, once=True):
                storage.set_trial_user_attr(trial_id, ASKED_AGAIN, True)
            storage.set_trial_user_attr(trial_id, "reason", INTERRUPTED)
            storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)


def counted(trials: Iterable[FrozenTrial]) -> int:
    """How many trials of the search have ended or are on their way; a second try does not count beside its first."""
    waiting = optuna.trial.TrialState.WAITING
    return sum(trial.state is not waiting and not is_finalist(trial) for trial in without_first_tries(trials))


def begun(study: optuna.Study) -> int:
    """How many trials have ended or are on their way, all together."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state is not optuna.trial.TrialState.WAITING for trial in trials)


def without_first_tries(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials but for those that have ended and were asked for again."""
    found = [(trial, trial.user_attrs) for trial in trials]
    again = {about.get(SECOND_TRY) for _, about in found}
    return [
        trial
        for trial, about in found
        if not ((ASKED_AGAIN in about or trial.number in again) and trial.state.is_finished())
    ]


def load_study(config: StudyConfig) -> optuna.Study:
    """The study as it is stored. Raises UsageError when it was never run."""
    url = storage_url(config)
    if not has_file(url):
        raise UsageError(f"{shown(url)} does not exist; start the study with `thrones run`")
    try:
        return optuna.load_study(study_name=config.name, storage=open_storage(url, retry_stale), sampler=sampler())
    except KeyError as error:
        raise UsageError(f"{shown(url)} has no study {config.name!r}; start it with `thrones run`") from error


class _Sampler(optuna.samplers.TPESampler):
    """TPE that learns from the best and the latest trials alone: of ten thousand it takes a second for each choice."""

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        few = copy.copy(study)
        few._get_trials = partial(_telling, study)  # type: ignore[method-assign]  # TPE asks for its trials there
        return super().sample_relative(few, trial, search_space)


def _telling(study: optuna.Study, **asked: Any) -> list[FrozenTrial]:
    """Of the trials asked for the BEST so many and the LATEST, in their order."""
    trials = study._get_trials(**asked)
    best = {trial.number for trial in best_trials(study, promising=True, trials=trials)[:BEST]}
    return [trial for trial in trials[:-LATEST] if trial.number in best] + trials[-LATEST:]


def sampler() -> optuna.samplers.BaseSampler:
    """The sampler of every study: TPE, with the rule as its constraint."""
    with warnings.catch_warnings():
        # optuna-dashboard shows only the constraints that this way writes; Optuna's new way is invisible there.
        warnings.simplefilter("ignore")
        return _Sampler(
            seed=None,  # a resumed study must not ask for the same candidates again
            multivariate=True,
            n_startup_trials=10,
            constraints_func=lambda trial: (float(trial.user_attrs.get("constraint", 0.0)),),
        )


def best_value(study: optuna.Study, *, promising: bool = False, trials: Trials | None = None) -> float | None:
    """The best value among the trials that keep the rule, or, `promising`, are predicted to after longer training."""
    best = best_trials(study, promising=promising, trials=trials)
    return best[0].value if best else None


def best_trial(
    study: optuna.Study, decided: dict[int, float] | None = None, *, trials: Trials | None = None
) -> FrozenTrial | None:
    """The best of the trials that keep the rule, or None; the most accurate of those that tie with it.

    Where the run-off has measured all contenders, its values (`decided`, or else those stored) decide instead of the
    search's short measurements.
    """
    few, decided = contenders(study, trials), run_off(study) if decided is None else decided
    values = {trial.number: decided.get(trial.number) for trial in few}
    if None in values.values():
        few = best_trials(study, trials=trials)
        values = {trial.number: trial.value for trial in few}
    first = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
    best = first((value for value in values.values() if value is not None), default=None)
    ties = [trial for trial in few if is_close(values[trial.number], best)]
    return max(ties, key=lambda trial: stored_accuracy(trial.user_attrs["candidate"]).decision_percent, default=None)


def contenders(study: optuna.Study, trials: Trials | None = None) -> list[FrozenTrial]:
    """The best few trials that keep the rule, each model once, which short measurements cannot tell apart.

    Each counts with the better of its two, the one before it was trained and the one after: what else runs on the
    machine makes a model slower and never faster.
    """
    maximise = study.direction == optuna.study.StudyDirection.MAXIMIZE

    def at_best(trial: FrozenTrial) -> float:
        about, value = trial.user_attrs, trial.value or 0.0
        before = about["structure"]["best_case"] if "structure" in about else value
        percent = stored_accuracy(about["candidate"]).search_percent
        return max(value, before * percent / 100) if maximise else min(value, before)

    models: dict[str, FrozenTrial] = {}
    values = [(at_best(trial), trial) for trial in best_trials(study, trials=trials)]
    values.sort(key=lambda pair: pair[0], reverse=maximise)
    for value, trial in values:
        if not is_close(value, values[0][0], RUN_OFF_WITHIN):
            break
        models.setdefault(trial.user_attrs["candidate"]["sha256"], trial)
    return list(models.values())[:RUN_OFF]


def run_off(study: optuna.Study) -> dict[int, float]:
    """What the closing comparison's longer measurements gave, by the number of the trial."""
    values: dict[str, float] = study.user_attrs.get("comparison", {}).get("run_off", {})
    return {int(number): value for number, value in values.items()}


def is_close(value: float | None, to: float | None, within: float = TIE) -> bool:
    """Whether two values of a road tie, or are this near each other."""
    return value is not None and to is not None and abs(value - to) <= within * max(value, to)


def best_trials(
    study: optuna.Study, *, promising: bool = False, trials: Trials | None = None
) -> list[FrozenTrial]:
    """The trials that keep the rule, or, `promising`, are predicted to after longer training; the best first.

    What became of a candidate as a finalist stands in for what was predicted of it. `trials`: the study's, where they
    are at hand: each look into a storage is a journey.
    """
    there = study.get_trials(deepcopy=False) if trials is None else trials
    complete = [trial for trial in there if trial.state is optuna.trial.TrialState.COMPLETE]
    if promising:
        promised = [trial for trial in complete if trial.user_attrs["constraint"] <= 0]
        decided = {trial.user_attrs.get(FINALIST) for trial in complete}
        kept = [trial for trial in promised if trial.number not in decided]
    else:
        kept = [trial for trial in complete if trial.user_attrs["shortfall"] <= 0]
    maximise = study.direction == optuna.study.StudyDirection.MAXIMIZE
    return sorted(kept, key=lambda trial: trial.value or 0.0, reverse=maximise)


def is_finalist(trial: optuna.Trial | FrozenTrial) -> bool:
    """Whether this is a candidate of the search, trained again for longer."""
    return FINALIST in trial.user_attrs
