"""`thrones dashboard`: what it serves, and what a browser shows of a finished study."""

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import optuna
import psutil
import pytest
import record_factories as factories
import squares
from conftest import Finished
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from search.adapters.optuna_trials import with_constraint
from search.dashboard.dashboard_server import update
from search.dashboard.notes import PERSONAL_NOTES_BELOW, write_notes
from search.dashboard.storage_view import DashboardStorageView
from search.evaluation import Accuracy, EndReason
from search.report.charts.catalog import CHARTS
from search.report.load_results import load_results
from search.storage.open_storage import load_study
from search.storage.trial_record import read_trial, record_failure

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WAIT_S = 60


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`thrones dashboard squares.toml` as a process, with the address that it tells."""
    command = [*squares.COMMAND, "dashboard", "squares.toml", "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background, as this suite may be, ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            told = process.stdout.readline() + process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/dashboard/studies/\d+", told)
            assert found and f"ssh -L {found[1]}:127.0.0.1:{found[1]} " in told, told
            yield found[0], process
        finally:
            process.kill()


def stored(folder: Path) -> optuna.Study:
    return load_study(squares.read(folder / "squares.toml"))


def add_predicted_feasible(found: optuna.Study) -> int:
    """Add a trial that is faster than all, misses the constraint and is predicted to meet it; return its number."""
    best = found.get_trials(states=(optuna.trial.TrialState.COMPLETE,))[-1]
    record = read_trial(best)
    fast = factories.complete(
        1e-6,
        accuracy=Accuracy(55.0, 55.0, 55.0),
        constraint_violation=5.0,
        predicted_violation=-1.0,
        spec=record.spec,
        artifacts=record.artifacts,
        params=best.params,
        distributions=best.distributions,
    )
    found.add_trial(with_constraint(fast, -1.0))
    return found.get_trials()[-1].number


def note_of(attributes: dict[str, object], trial_id: int) -> str:
    return str(get_note_from_system_attrs(attributes, trial_id)["body"])


@pytest.mark.slow
def test_a_person_s_own_words_stay_and_nothing_is_written_twice(squares_copy: Path) -> None:
    found, config = stored(squares_copy), squares.read(squares_copy / "squares.toml")
    seen = update(found, config)
    mine = f"{get_note(found)}\nlook at trial 2"
    save_note(found, mine)
    before = found._storage.get_study_system_attrs(found._study_id)
    assert update(found, config, seen) == seen
    write_notes(found, load_results(found, config))
    assert found._storage.get_study_system_attrs(found._study_id) == before
    assert get_note(found).partition(PERSONAL_NOTES_BELOW)[2] == "\nlook at trial 2"
    save_note(found, "all my own")
    for _ in range(2):
        write_notes(found, load_results(found, config))
        assert get_note(found).partition(PERSONAL_NOTES_BELOW)[2] == "\n\nall my own"

    asked = found.ask()
    record_failure(asked, EndReason.CANDIDATE_FAILED, "converter: no such operator", retried=False)
    found.tell(asked, state=optuna.trial.TrialState.FAIL)
    assert update(found, config, seen) != seen
    after = found._storage.get_study_system_attrs(found._study_id)
    assert note_of(after, asked._trial_id) == "**Failed**: converter: no such operator"
    assert get_note(found).endswith("\n\nall my own")


def test_what_misses_the_constraint_is_infeasible_whatever_is_predicted() -> None:
    found = optuna.create_study()
    for value, violation in ((1.0, 3.0), (2.0, -0.5), (3.0, 0.2)):
        complete = factories.complete(
            value, model=str(value).encode(), constraint_violation=violation, predicted_violation=-1.0
        )
        found.add_trial(with_constraint(complete, -1.0))
    pruned = optuna.trial.TrialState.PRUNED
    found.add_trial(optuna.create_trial(state=pruned, value=44.0, intermediate_values={1: 44.0}))

    view = DashboardStorageView(found)
    shown = view.get_all_trials(found._study_id)
    assert [trial.constraints.get("0") for trial in shown] == [3.0, -0.5, 0.2, None]
    assert shown[3].value is None, "an accuracy is no objective"
    assert view.get_best_trial(found._study_id).number == 1
    assert [trial.constraints.get("0") for trial in found.get_trials()] == [-1.0, -1.0, -1.0, None], "as TPE learns it"


@pytest.mark.slow
def test_a_port_in_use(finished: Finished) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = squares.refused("dashboard", "squares.toml", "--port", str(port), folder=finished.folder)
    assert line.startswith(f"thrones: port {port} of 127.0.0.1 cannot be listened on (Address already in use); ")
    assert re.search(r"name another: --port \d+$", line)


@pytest.mark.slow
def test_which_study(finished: Finished, tmp_path: Path) -> None:
    line = squares.refused("dashboard", folder=tmp_path)
    assert line == "thrones: which study? runs holds no study; name its file: thrones dashboard STUDY"
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "study.db").touch()
    assert "runs holds one, two; name its file" in squares.refused("dashboard", folder=tmp_path)


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly_and_it_serves_this_computer_alone(squares_copy: Path) -> None:
    with served(squares_copy) as (address, process):
        port = int(address.split(":")[2].split("/")[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/1", timeout=30) as answer:
            detail = json.load(answer)
        shown = {chart["id"] for chart in detail["plotly_graph_objects"]}
        assert {"history_chart", "accuracy_chart", "curves_chart"} <= shown <= {chart.name for chart in CHARTS}
        assert detail["objective_names"] == ["latency [ms]"]
        sockets = [s.laddr for s in psutil.net_connections("tcp") if s.status == "LISTEN" and s.laddr.port == port]
        assert [where.ip for where in sockets] == ["127.0.0.1"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1600"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        yield driver


@pytest.mark.slow
def test_the_pages_in_a_browser(browser: webdriver.Chrome, squares_copy: Path, tmp_path: Path) -> None:
    found = stored(squares_copy)
    infeasible = add_predicted_feasible(found)
    results = load_results(found, squares.read(squares_copy / "squares.toml"))
    best = results.trials[results.best_trial or 0]

    def wait_for(text: str) -> None:
        WebDriverWait(browser, WAIT_S).until(lambda b: text in b.find_element(By.TAG_NAME, "body").text, text)

    with served(squares_copy) as (address, _):
        browser.get(address.rsplit("/", 2)[0])
        WebDriverWait(browser, WAIT_S).until(lambda b: b.find_elements(By.PARTIAL_LINK_TEXT, "squares"))[0].click()
        wait_for("Infeasible")  # the timeline's legend
        wait_for(f"Best Trial (number={best.number})")
        wait_for("Learning curves")  # of the report

        browser.get(f"{address}/note")
        wait_for("How to read these pages")
        browser.get(f"{address}/trials?numbers={infeasible}")
        wait_for("Infeasible: ")
        browser.get(f"{address}/trials?numbers={best.number}")
        wait_for("Complete, meets the accuracy constraint: ")
        wait_for("model.tflite")
        browser.find_element(By.CSS_SELECTOR, 'a[download="model.tflite"]').click()
        model = tmp_path / "downloads" / "model.tflite"
        WebDriverWait(browser, WAIT_S).until(lambda b: model.exists(), "the download")
    assert best.figures and sha256(model.read_bytes()).hexdigest() == best.figures.sha256
