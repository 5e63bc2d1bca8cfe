"""How a study is created, resumed and joined, and what all its trials have in common. Needs no TensorFlow."""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from compress.errors import UsageError
from edge.devices.device import Device
from edge.devices.pool import Pool, calibrate
from edge.measuring.plan import MeasurePlan
from search.candidate.calibration import check_speed
from search.config import StudyConfig
from search.runner.loop import UNITS, Shift
from search.storage.artifacts import settle
from search.storage.open import open_storage, shown, storage_url
from search.storage.study_state import TIE, asked_params, best_value, load_study, reclaim, retry_stale, sampler
from search.strategy.search_space import stands
from search.version import version

Identity = dict[str, Any]
BASE_MS = "unpruned base [ms]"


def identity(
    config: StudyConfig,
    *,
    data: str,
    test: str,
    base: str,
    board: Mapping[str, str],
    made_by: Mapping[str, Any],
    base_ms: float | None = None,
) -> Identity:
    """What all trials of a study have in common; not how long it runs, where it is kept, or who works on it.

    data, test, base: keys of the images and of the base's weights. made_by: versions of what trains and converts.
    base_ms: the speed of the base on the device when the study begins, which need not be just the same later.
    """
    left_out: Any = dict.fromkeys(("budget", "folder", "name", "initial", "storage", "artifacts", "device"), True)
    left_out |= {"final_training": {"budget_fraction"}, "training": {"threads"}}
    left_out["grid"] = {"pruning_ratio", "epochs", "quantization"} if config.grid else True  # rows may be added
    setting = json.loads(config.model_dump_json(exclude=left_out))
    found = {**setting, "data": data, "test images": test, "base": base, "kind of board": dict(board), **made_by}
    return found if base_ms is None else {**found, BASE_MS: base_ms}


def check_meter(road: str, device: Device) -> None:
    """Raises UsageError where the road needs a meter and the device has none."""
    if road != "latency" and not device.measures_power:
        raise UsageError(f"road {road} needs a meter, {device.url} has none: name one with --meter")


def begin_study(
    shift: Shift, who: Identity, facts: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]
) -> optuna.Study:
    """Create or resume a study, ask for the candidates to try first, and set the clock for those who join.

    Only for one process at a time. Raises UsageError for a storage of another study, and where this host cannot read
    and write the study's artifacts.
    """
    config = shift.config
    study = optuna.create_study(
        study_name=config.name,
        storage=open_storage(storage_url(config), retry_stale),
        sampler=sampler(),
        direction="maximize" if config.road == "fom" else "minimize",
        load_if_exists=True,
    )
    if "identity" in study.user_attrs:
        _check(study, config, who)
        _tell_version(study, shift)
    else:
        study.set_user_attr("identity", who)
        for name, value in {"road": config.road, "tie_tolerance": TIE, **facts}.items():
            study.set_user_attr(name, value)
    settle(study, config)
    study.set_user_attr("version", version())
    study.set_user_attr("until", time.time() + shift.deadline_s - time.monotonic())
    here = f"{platform.node()}:"
    reclaim(study, lambda worker: worker is None or worker.startswith(here))  # nobody else is at work on this host
    best = best_value(study)
    if best is not None:
        shift.progress.best(f"{best:.4g} {UNITS[config.road]}")
    there = [asked_params(trial) for trial in study.get_trials(deepcopy=False) if _counts(trial, config)]
    for params in asked:  # also those written into the file since
        if dict(params) not in there:
            study.enqueue_trial(dict(params))
            there.append(dict(params))
    return study


def _tell_version(study: optuna.Study, shift: Shift) -> None:
    before = study.user_attrs.get("version")
    if before not in (None, version()):
        shift.progress.line(
            f"thrones {version()} continues this study, which {before} has run; both train and convert alike"
        )


def _counts(trial: optuna.trial.FrozenTrial, config: StudyConfig) -> bool:
    """Whether a candidate need not be asked for again: a grid's row that failed or was trained otherwise must be."""
    if config.grid is None:
        return True
    if trial.state == optuna.trial.TrialState.COMPLETE:
        return stands(trial, config, config.grid)
    return trial.state != optuna.trial.TrialState.FAIL


def compare_boards(
    study: optuna.Study, shift: Shift, device: Device, plan: MeasurePlan, model: bytes, images: NDArray[np.uint8]
) -> None:
    """Where there are several boards: run the same model on each, and say and store how they differ.

    Raises UsageError where they differ by more than `edge.devices.pool.calibrate` allows.
    """
    if isinstance(device, Pool):
        shift.progress.phase("comparing the boards")
        found_ms = calibrate(device, model, plan, images)
        study.set_user_attr("calibration", found_ms)
        shift.progress.line("boards: " + ", ".join(f"{url} {ms:.4g} ms" for url, ms in found_ms.items()))


def join(config: StudyConfig, who: Identity) -> tuple[optuna.Study, float]:
    """A study that another process has begun, and the seconds that are left of its budget.

    Raises UsageError for a study that was not begun or whose time is over, for another version of thrones, and for
    another space, base, data or kind of board.
    """
    study = load_study(config)
    _check(study, config, who)
    theirs = study.user_attrs["version"]
    if theirs != version():
        raise UsageError(
            f"this is thrones {version()}, the study is run by {theirs}; install the same version on all hosts"
        )
    left_s = float(study.user_attrs["until"]) - time.time()
    if left_s <= 0:
        raise UsageError(f"the time of {config.name} was over {-left_s / 60:.0f} minutes ago; start `thrones run`")
    return study, left_s


def _check(study: optuna.Study, config: StudyConfig, who: Identity) -> None:
    stored = dict(study.user_attrs["identity"])
    who = dict(who)
    speeds_ms = stored.pop(BASE_MS, None), who.pop(BASE_MS, None)
    if stored != who:
        other = next(key for key in {**who, **stored} if stored.get(key) != who.get(key))
        before, now = stored.get(other), who.get(other)
        if isinstance(before, dict) and isinstance(now, dict):  # of a section or a board only what differs
            names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
            before, now = ({name: each.get(name) for name in names} for each in (before, now))
        raise UsageError(
            f"{shown(storage_url(config))} was made with another {other} ({_short(before)}, now "
            f"{_short(now)}); results must not be mixed: rename the study file, or move the folder away"
        )
    if speeds_ms[0] is not None and speeds_ms[1] is not None:
        check_speed(*speeds_ms, config.name)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
