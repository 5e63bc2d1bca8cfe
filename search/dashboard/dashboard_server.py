"""Serve optuna-dashboard for a study, also while it runs, with notes and the report's charts."""

import time
import warnings
from collections.abc import Callable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna
from optuna_dashboard import save_plotly_graph_object

from edge.errors import UsageError
from search.adapters.optuna_dashboard import build_app
from search.adapters.optuna_trials import id_of
from search.config import StudyConfig
from search.dashboard.notes import write_notes
from search.dashboard.storage_view import DashboardStorageView
from search.report.charts.catalog import CHARTS
from search.report.charts.style import style_for_dashboard
from search.report.load_results import load_results
from search.report.results import StudyResults
from search.report.sentences import objective_title
from search.storage.artifacts import open_artifacts
from search.storage.open_storage import load_study
from search.storage.study_record import record_of

HOST = "127.0.0.1"
MIN_PAUSE_S = 30.0
"""Notes and charts are updated at most this often, if something has happened."""
PAUSE_PER_CPU_S = 20.0
"""Seconds of pause for each CPU second of an update: the study may measure on this machine."""


def serve(
    config: StudyConfig,
    port: int,
    show_address: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Serve the study's pages to this host alone until Ctrl-C.

    Args:
        config: The study's configuration.
        port: The port of the pages; 0: any free one.
        show_address: Called with the pages' address once they can be opened.
        warn: Called with the reason if this host cannot read the study's artifacts. Then no model
            can be downloaded.

    Raises:
        UsageError: The study was never run, artifacts were named and are not those of the study, or
            the port is used.
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
        server.set_app(build_app(DashboardStorageView(study), artifacts))
        seen = update(study, config)
        pause_s = MIN_PAUSE_S
        Thread(target=server.serve_forever, daemon=True).start()
        show_address(f"http://{HOST}:{server.server_port}/dashboard/studies/{id_of(study)}")
        while True:  # in the main thread, so that an error ends the command
            time.sleep(pause_s)
            began_s = time.process_time()
            seen = update(study, config, seen)
            pause_s = max(MIN_PAUSE_S, PAUSE_PER_CPU_S * (time.process_time() - began_s))


def update(study: optuna.Study, config: StudyConfig, seen: object = None) -> object:
    """Write notes and charts, unless nothing has happened since the call that returned `seen`."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    now = (states, record_of(study).final_comparison)
    if now == seen:
        return now
    results = load_results(study, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # called experimental since Optuna 3.2
        study.set_metric_names([objective_title(results)])
    write_notes(study, results)
    save_charts(study, results)
    return now


def save_charts(study: optuna.Study, results: StudyResults) -> None:
    """Store the report's charts as the study's graph objects."""
    for chart in CHARTS:
        figure = chart.draw(results)
        if isinstance(figure, str):
            continue
        style_for_dashboard(figure, chart.title)
        save_plotly_graph_object(study, figure, graph_object_id=chart.name)


class _Server(ThreadingMixIn, WSGIServer):
    # A browser opens connections in advance, and a single thread would wait for them.
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print no line for each request."""


def _listen(port: int) -> _Server:
    try:
        return _Server((HOST, port), _Silent)
    except OSError as error:
        other = 8081
        if 1024 <= port < 65535:
            other = port + 1
        reason = f"port {port} of {HOST} cannot be listened on ({error.strerror})"
        raise UsageError(reason, remedy=f"name another: --port {other}") from error
