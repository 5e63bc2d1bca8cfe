"""A study from its file to its best model: open or resume the storage, run trials, compare the best with the base."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from compress.convert import ConversionJob
from compress.data import Dataset
from compress.errors import UsageError
from compress.spec import CompressionSpec
from edge import InvalidMeasurementError
from search.bench import Bench, open_bench
from search.cache import Cache
from search.closing import compare
from search.config import StudyConfig
from search.finalists import finish, train_waiting_finalists
from search.grid import run_grid
from search.loop import UNITS, optimize
from search.mutate import propose
from search.progress import Progress
from search.space import starting_params
from search.storage import (
    ASKED_AGAIN,
    TIE,
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
    with open_bench(config, data, progress, Cache(config.folder.parent / "cache")) as bench:
        study = _open_study(bench, starts)
        base_model = _base_model(bench)
        progress.begin()
        if config.grid is not None:
            run_grid(study, bench, config.grid)
            return study
        train_waiting_finalists(study, bench)  # of a run that was stopped among them
        _search(study, bench)
        try:
            compare(study, bench, base_model)
        except InvalidMeasurementError as error:  # what was found is no worse for it, and is reported all the same
            progress.line(f"base and best were not compared: {error}; then run the same command again")
        return study


def _open_study(bench: Bench, starts: list[dict[str, Any]]) -> optuna.Study:
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
    left_out["grid"] = {"fraction", "epochs", "quantization"} if config.grid else True  # rows may be added
    setting = json.loads(config.model_dump_json(exclude=left_out))
    identity = {**setting, "data": bench.data.key, "base": bench.base_key, "host": bench.device_key}
    stored = study.user_attrs.get("identity")
    if stored is None:
        study.set_user_attr("identity", identity)
        for name, value in (
            ("road", config.road),
            ("data", bench.data.name),
            ("data source", bench.data.source),
            ("rule_percent", bench.rule_percent),
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
