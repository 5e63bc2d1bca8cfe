"""A study from its file to its best model: open or resume the storage, run trials, compare the best with the base."""

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore

from compress.convert import ConversionJob, Converter
from compress.data import Dataset
from compress.errors import UsageError
from compress.hashing import arrays_key
from compress.spec import CompressionSpec
from compress.tf import limit_threads
from edge import (
    InvalidMeasurementError,
    Measurement,
    open_rig,
    plan_for,
)
from search.base import base_weights
from search.bench import Bench
from search.bounds import required_percent
from search.cache import Cache
from search.candidate import accuracy_percent
from search.config import StudyConfig
from search.finalists import finish, train_waiting_finalists
from search.loop import UNITS, optimize
from search.mutate import propose
from search.progress import Progress
from search.space import starting_params
from search.storage import (
    ASKED_AGAIN,
    TIE,
    best_trial,
    best_value,
    is_finalist,
    open_storage,
    reclaim,
    sampler,
    storage_path,
)


def run_study(config: StudyConfig, data: Dataset, progress: Progress) -> optuna.Study:
    """Run or resume a study until its budget ends, then compare its best candidate with the base. Only when `locked`.

    Raises UsageError for a storage of another study, base or data; UnavailableError when device or meter stay away.
    """
    starts = starting_params(config)
    with ExitStack() as stack:
        converter = stack.enter_context(Converter())
        device = stack.enter_context(open_rig(config.device, config.meter, progress.phase))
        if config.road != "latency" and not device.measures_power:
            raise UsageError(f"road {config.road} needs a meter, {config.device} has none: name one with --meter")
        (config.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        cache = Cache(config.folder.parent / "cache")
        if config.training.threads:
            limit_threads(config.training.threads)
        base = base_weights(data, cache, progress)  # before the budget's clock starts
        rule = data.rule_percent if config.rule.accuracy_percent is None else config.rule.accuracy_percent
        bench = Bench(
            config=config,
            data=data,
            base=base,
            required_percent=required_percent(
                rule, config.rule.margin_sigmas, len(data.validation[0]), len(data.test[0])
            ),
            plan=plan_for(config.measure.search, device.shortest_window_s),
            deadline_s=time.monotonic() + config.budget.minutes * 60,
            converter=converter,
            device=device,
            cache=cache,
            artifacts=FileSystemArtifactStore(str(config.folder / "artifacts")),
            progress=progress,
        )
        study = _open_study(bench, rule, starts)
        base_model = _base_model(bench)
        progress.begin()
        train_waiting_finalists(study, bench)  # of a run that was stopped among them
        _search(study, bench)
        try:
            _compare(study, bench, base_model)
        except InvalidMeasurementError as error:  # what was found is no worse for it, and is reported all the same
            progress.line(f"base and best were not compared: {error}; then run the same command again")
        return study


def _open_study(bench: Bench, rule_percent: float, starts: list[dict[str, Any]]) -> optuna.Study:
    config = bench.config
    storage = open_storage(storage_path(config))
    study = optuna.create_study(
        study_name=config.name,
        storage=storage,
        sampler=sampler(),
        direction="maximize" if config.road == "fom" else "minimize",
        load_if_exists=True,
    )
    left_out: Any = {"budget": True, "folder": True, "name": True, "start": True, "finish": {"share"}}
    setting = json.loads(config.model_dump_json(exclude=left_out))
    identity = {**setting, "data": bench.data.key, "base": bench.base_key, "host": bench.device_key}
    stored = study.user_attrs.get("identity")
    if stored is None:
        study.set_user_attr("identity", identity)
        for name, value in (
            ("road", config.road),
            ("data", bench.data.name),
            ("data source", bench.data.source),
            ("rule_percent", rule_percent),
            ("required_percent", bench.required_percent),
            ("validation_images", len(bench.data.validation[0])),
            ("test_images", len(bench.data.test[0])),
            ("tie_tolerance", TIE),
            ("environment", json.loads(json.dumps(vars(bench.device.environment())))),
        ):
            study.set_user_attr(name, value)
    elif stored != identity:
        other = next(key for key in {**identity, **stored} if stored.get(key) != identity.get(key))
        raise UsageError(
            f"{storage_path(config)} was made with another {other} ({_short(stored.get(other))}, now "
            f"{_short(identity.get(other))}); results must not be mixed: rename the study file, or move the folder away"
        )
    reclaim(study, storage)
    best = best_value(study)
    if best is not None:
        bench.progress.best(f"{best:.4g} {UNITS[config.road]}")
    for start in starts:  # also those written into the file since
        study.enqueue_trial(start, skip_if_exists=True)
    return study


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _base_model(bench: Bench) -> bytes:
    """The unpruned float base as a `.tflite`."""
    key = ("base", bench.base_key)
    model = bench.cache.get(*key)
    if model is None:
        bench.progress.phase("converting the base")
        model = bench.converter.convert(ConversionJob(CompressionSpec().architecture(), bench.base, "float32"))
        bench.cache.put(model, *key)
    return model


def _search(study: optuna.Study, bench: Bench) -> None:
    """Trials and finalists until the budget ends: the search alone at first, then finalists come before it."""
    rng = np.random.default_rng()  # unseeded like the sampler: a resumed study must not ask for the same again
    kept_s = bench.config.finish.share * bench.config.budget.minutes * 60 if bench.config.finish.candidates else 0.0

    def left() -> int:
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        counted = [trial for trial in done if ASKED_AGAIN not in trial.user_attrs and not is_finalist(trial)]
        return bench.config.budget.trials - len(counted)

    def propose_next() -> None:
        propose(study, bench.config, rng)

    def one_more() -> bool:
        once = iter([left()])
        optimize(study, bench, lambda: next(once, 0), propose_next)
        return left() > 0

    optimize(study, replace(bench, deadline_s=bench.deadline_s - kept_s), left, propose_next)
    finish(study, bench, one_more)


def _compare(study: optuna.Study, bench: Bench, base: bytes) -> None:
    """Measure base and best candidate side by side, and their accuracy on all test images; store the figures.

    The test images are used here and nowhere else, when the choice has been made.
    """
    best = best_trial(study)
    compared = study.user_attrs.get("comparison")
    if best is not None and compared is not None and compared["trial"] == best.number:
        return
    models = {"base": base}
    threads = 1
    if best is not None:
        key = best.user_attrs["artifact model.tflite"]
        models["best"] = (bench.config.folder / "artifacts" / key).read_bytes()
        threads = best.user_attrs["spec"]["threads"]
    plan = plan_for(bench.config.measure.final, bench.device.shortest_window_s)
    bench.progress.end()
    comparison: dict[str, Any] = {"trial": None if best is None else best.number}
    for name, model in models.items():
        bench.progress.phase(f"comparing: {name}, {plan.name} plan")
        chosen = replace(plan, threads=threads if name == "best" else 1)
        measured: Measurement = bench.device.measure(model, chosen, bench.data.test[0])
        comparison[name] = {
            "measurement": json.loads(measured.to_json()),
            "test_accuracy_percent": _test_accuracy(bench, model),
        }
    study.set_user_attr("comparison", comparison)


def _test_accuracy(bench: Bench, model: bytes) -> float:
    images, labels = bench.data.test
    key = ("test accuracy", sha256(model).hexdigest(), arrays_key((images, labels)), bench.device_key)
    stored = bench.cache.get(*key)
    if stored is not None:
        return float(json.loads(stored))
    bench.progress.phase(f"accuracy on all {len(images):,} test images")
    value = accuracy_percent(bench.device, model, images, labels)
    bench.cache.put(json.dumps(value).encode(), *key)
    return value
