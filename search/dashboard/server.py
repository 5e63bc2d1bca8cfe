"""optuna-dashboard on a study, also while it runs: with its rule, its notes and the report's charts."""

import copy
import time
import warnings
from collections.abc import Callable
from itertools import count, takewhile
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import _serializer, save_plotly_graph_object, wsgi
from optuna_dashboard._note import note_str_key_prefix, note_ver_key
from optuna_dashboard.artifact._backend import list_trial_artifacts

from compress.errors import UsageError
from search.config import StudyConfig
from search.dashboard.notes import write_notes
from search.report import tables
from search.report.load_results import collect
from search.report.pages.study_page import CHARTS
from search.report.results import StudyResults
from search.storage.artifacts import open_artifacts
from search.storage.study_state import best_trial, load_study

HOST = "127.0.0.1"
EVERY_S = 30.0
"""So often notes and charts are written anew, where something has happened."""
TITLES = {
    "history_chart": "Objective of each trial",
    "accuracy_chart": "Accuracy and latency",
    "importances_chart": "What decides the objective",
    "curves_chart": "Learning curves",
    "layers_chart": "Channels of each layer",
    "seconds_chart": "Where the time went",
    "timeline_chart": "Who did what when",
}


def serve(config: StudyConfig, port: int, tell: Callable[[str], object], warn: Callable[[str], object]) -> None:
    """Serve the study's pages to this host alone until Ctrl-C; `tell` hears their address once they are there.

    Where this host cannot read the study's artifacts, `warn` hears why, and the pages come without models to download.
    Raises UsageError for a study that was never run, for artifacts that were named and are not those of the study, and
    for a port that is in use.
    """
    study = load_study(config)
    artifacts = None
    try:
        artifacts = open_artifacts(config)
    except UsageError as error:
        if config.artifacts:
            raise
        warn(f"nothing to download: {error}")
    with _listen(port) as server:
        _serializer.note.get_note_from_system_attrs = _note
        _serializer.list_trial_artifacts = _artifacts
        server.set_app(wsgi(cast(BaseStorage, Shown(study)), artifacts))
        seen, pause_s = update(study, config), EVERY_S
        Thread(target=server.serve_forever, daemon=True).start()
        tell(f"http://{HOST}:{server.server_port}/dashboard/studies/{study._study_id}")
        while True:  # in the main thread, so that what goes wrong here is told and not lost
            time.sleep(pause_s)
            began_s = time.process_time()
            seen = update(study, config, seen)
            # With thousands of trials more rarely: the study may be measuring on this very machine.
            pause_s = max(EVERY_S, 20 * (time.process_time() - began_s))


def update(study: optuna.Study, config: StudyConfig, seen: object = None) -> object:
    """Write notes and charts, unless nothing has happened since the call that gave `seen`."""
    now = [trial.state for trial in study.get_trials(deepcopy=False)], study.user_attrs.get("comparison")
    if now != seen:
        results = collect(study, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # called experimental since Optuna 3.2
            study.set_metric_names([tables.objective_title(results)])
        write_notes(study, results)
        save_charts(study, results)
    return now


def save_charts(study: optuna.Study, results: StudyResults) -> None:
    """Keep the report's charts as the study's graph objects."""
    clear, grid = "rgba(0,0,0,0)", "rgba(128,128,128,0.25)"
    for chart in CHARTS:
        figure = chart(results)
        if isinstance(figure, str):
            continue
        figure.update_layout(template="none", title={"text": TITLES[chart.__name__], "x": 0.02}, height=None)
        # The dashboard has a dark mode: grey on nothing suits both.
        figure.update_layout(paper_bgcolor=clear, plot_bgcolor=clear, font_color="#808080", modebar_bgcolor=clear)
        figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.2}, margin={"l": 10, "t": 60, "b": 10})
        figure.update_xaxes(gridcolor=grid, zeroline=False, automargin=True)
        figure.update_yaxes(gridcolor=grid, zeroline=False, automargin=True)
        save_plotly_graph_object(study, figure, graph_object_id=chart.__name__)


@BaseStorage.register
class Shown:
    """A study's storage as the dashboard is to show it: what misses the rule is infeasible, the best trial keeps it.

    The constraint in the storage is another one: what TPE learns from is whether longer training promises the rule.
    Optuna's best trial heeds no constraint at all, and its value of a pruned trial is the last accuracy.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage = study._storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(self, study_id: int, *args: Any, **options: Any) -> list[FrozenTrial]:
        """Those of the storage, with the rule as their constraint."""
        return [_as_shown(trial) for trial in self._storage.get_all_trials(study_id, *args, **options)]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The best that keeps the rule; while none does, the one nearest to it."""
        name = self._storage.get_study_name_from_id(study_id)
        study = optuna.load_study(study_name=name, storage=self._storage)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return _as_shown(best_trial(study) or min(complete, key=lambda trial: float(trial.user_attrs["shortfall"])))


def _as_shown(trial: FrozenTrial) -> FrozenTrial:
    shown = copy.copy(trial)  # the storage's own is shared
    if trial.state == TrialState.PRUNED:
        shown.values = None
    if trial.state == TrialState.COMPLETE:
        shown.system_attrs = {**trial.system_attrs, "constraints": [trial.user_attrs.get("shortfall", 0.0)]}
    return shown


def _note(attributes: dict[str, Any], trial_id: int | None) -> dict[str, Any]:
    """As optuna-dashboard's own, which looks through the notes of all trials for each: minutes for some thousands."""
    prefix = note_str_key_prefix(trial_id)
    parts = takewhile(bool, (attributes.get(f"{prefix}{number}") for number in count()))
    return {"version": int(attributes.get(note_ver_key(trial_id), 0)), "body": "".join(map(str, parts))}


def _artifacts(attributes: dict[str, Any], of_trial: dict[str, Any], trial: FrozenTrial) -> list[Any]:
    """Likewise; only releases before Optuna had artifacts kept a trial's in the attributes of the study."""
    return list_trial_artifacts({}, of_trial, trial)  # type: ignore[no-any-return]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser opens connections in advance, and one thread alone would wait for them


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """No line for each request."""


def _listen(port: int) -> _Server:
    try:
        return _Server((HOST, port), _Silent)
    except OSError as error:
        raise UsageError(
            f"port {port} of {HOST} cannot be listened on ({error.strerror}); name another: "
            f"--port {port + 1 if 1024 <= port < 65535 else 8081}"
        ) from error
