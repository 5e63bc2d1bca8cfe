"""How a study is created, resumed and joined. Needs no TensorFlow."""

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
from search.candidate.worker_context import WorkerContext
from search.config import StudyConfig
from search.source_version import version
from search.storage.artifacts import record_artifacts_place
from search.storage.open_storage import load_study, open_storage
from search.storage.retry import fail_abandoned_trials, retry_stale_trial
from search.storage.study_record import StudyFacts, StudyRecord, read_study, record_beginning, record_run
from search.storage.trial_record import TrialRecord, read_trials
from search.storage.urls import redact_url, storage_url
from search.strategy.grid_space import is_current
from search.strategy.ranking import best_value
from search.strategy.sampler import build_sampler

Fingerprint = Mapping[str, Any]
BASE_MS = "unpruned base [ms]"
"""The speed of the base on the device when the study began. It need not be just the same later."""


def fingerprint_of(
    config: StudyConfig,
    *,
    data: str,
    test: str,
    base: str,
    device_kind: Mapping[str, str],
    versions: Mapping[str, Any],
    base_ms: float | None = None,
) -> Fingerprint:
    """Return what all trials of a study have in common; not how long it runs, where it is kept, or who works on it.

    Args:
        config: The study.
        data: A hash of the images.
        test: A hash of the test images.
        base: A hash of the base's weights.
        device_kind: The kind of device, and what gives the power.
        versions: The versions of what trains and converts.
        base_ms: The speed of the base on the device now; None where nothing is measured.
    """
    names = ("budget", "folder", "name", "initial", "storage", "artifacts", "device")
    left_out: dict[str, Any] = dict.fromkeys(names, True)
    left_out["final_training"] = True if config.grid else {"budget_fraction"}
    left_out["training"] = {"threads"}
    left_out["grid"] = {"pruning_ratio", "epochs", "quantization"} if config.grid else True  # rows may be added
    settings = json.loads(config.model_dump_json(exclude=left_out))
    settings["measure"]["search"] = config.search_plan  # the same whether the file says it or not
    keys = {"data": data, "test images": test, "base": base, "kind of device": dict(device_kind)}
    found = {**settings, **keys, **versions}
    if base_ms is not None:
        found[BASE_MS] = base_ms
    return found


def create_or_resume_study(
    context: WorkerContext,
    fingerprint: Fingerprint,
    facts: StudyFacts,
    wanted: Sequence[Mapping[str, Any]],
    deadline_s: float,
) -> optuna.Study:
    """Create or resume a study, enqueue what is to be tried first, and set the clock for those who join.

    Only one process at a time may call it.

    Args:
        context: The worker.
        fingerprint: What all trials have in common.
        facts: What reports say of the study.
        wanted: The parameters to enqueue; those that are there already are left out.
        deadline_s: `time.monotonic()` when the budget ends.

    Raises:
        UsageError: The storage has another study of this name, or this host cannot read and write its artifacts.
    """
    config = context.config
    study = optuna.create_study(
        study_name=config.name,
        storage=open_storage(storage_url(config), retry_stale_trial),
        sampler=build_sampler(),
        direction=config.road.direction,
        load_if_exists=True,
    )
    stored = read_study(study)
    if stored is None:
        record_beginning(study, fingerprint, facts)
    else:
        _check_fingerprint(stored.fingerprint, config, fingerprint)
        _log_version(stored, context)
    record_artifacts_place(study, config)
    record_run(study, version(), time.time() + deadline_s - time.monotonic())
    here = f"{platform.node()}:"
    fail_abandoned_trials(study, lambda worker: worker is None or worker.startswith(here))  # nobody else works here
    records = read_trials(study)
    best = best_value(records, config.road)
    if best is not None:
        context.progress.best(f"{best:.4g} {config.road.unit}")
    there = [dict(record.enqueued) for record in records if _counts(record, config)]
    for params in wanted:  # also those written into the file since
        if dict(params) not in there:
            study.enqueue_trial(dict(params))
            there.append(dict(params))
    return study


def _log_version(stored: StudyRecord, context: WorkerContext) -> None:
    if stored.version not in ("", version()):
        context.progress.line(
            f"thrones {version()} continues this study, which {stored.version} has run; both train and convert alike"
        )


def _counts(record: TrialRecord, config: StudyConfig) -> bool:
    """Return True where a candidate need not be enqueued again: a grid's row must, once it failed or is not current."""
    if config.grid is None:
        return True
    if record.is_complete:
        return is_current(record, config, config.grid)
    return record.state is not optuna.trial.TrialState.FAIL


def compare_devices(
    study: optuna.Study,
    context: WorkerContext,
    device: Device,
    plan: MeasurePlan,
    model: bytes,
    images: NDArray[np.uint8],
) -> None:
    """Run the same model on each device of a pool, and show how they differ; do nothing for a single device.

    Args:
        study: The study.
        context: The worker.
        device: The device, or the pool.
        plan: How the model is measured.
        model: The model.
        images: uint8 (N, 32, 32, 3).

    Raises:
        UsageError: They differ by more than `edge.devices.pool.calibrate` allows.
    """
    if isinstance(device, Pool):
        context.progress.phase("comparing the devices")
        found_ms = calibrate(device, model, plan, images)
        context.progress.line("devices: " + ", ".join(f"{url} {ms:.4g} ms" for url, ms in found_ms.items()))


def join_study(config: StudyConfig, fingerprint: Fingerprint) -> tuple[optuna.Study, float]:
    """Return a study that another process has begun, and the seconds that are left of its budget.

    Raises UsageError for a study that was not begun or whose time is over, for another version of thrones, and for
    another space, base, data or kind of device.
    """
    study = load_study(config, retry_stale_trial)
    study.sampler = build_sampler()
    stored = read_study(study)
    if stored is None:
        raise UsageError(f"{redact_url(storage_url(config))}: {config.name} has not begun; start it with `thrones run`")
    _check_fingerprint(stored.fingerprint, config, fingerprint)
    if stored.version != version():
        raise UsageError(
            f"this is thrones {version()}, the study is run by {stored.version}; install the same version on all hosts"
        )
    left_s = stored.deadline_s - time.time()
    if left_s <= 0:
        raise UsageError(f"the time of {config.name} was over {-left_s / 60:.0f} minutes ago; start `thrones run`")
    return study, left_s


def _check_fingerprint(stored: Fingerprint, config: StudyConfig, now: Fingerprint) -> None:
    before = dict(stored)
    after = dict(now)
    before_ms = before.pop(BASE_MS, None)
    after_ms = after.pop(BASE_MS, None)
    if before != after:
        other = next(key for key in {**after, **before} if before.get(key) != after.get(key))
        old, new = _differing(before.get(other), after.get(other))
        raise UsageError(
            f"{redact_url(storage_url(config))} was made with another {other} ({_short(old)}, now {_short(new)}); "
            "results must not be mixed: rename the study file, or move the folder away"
        )
    if before_ms is not None and after_ms is not None:
        check_speed(before_ms, after_ms, config.name)


def _differing(old: Any, new: Any) -> tuple[Any, Any]:
    """Return both; of two sections only the keys that differ."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old, new
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    return {name: old.get(name) for name in names}, {name: new.get(name) for name in names}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
