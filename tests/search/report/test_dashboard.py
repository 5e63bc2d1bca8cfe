"""`thrones dashboard`: the notes in words, and what a browser shows of a finished study."""

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import optuna
import psutil
import pytest
import squares
from conftest import Finished
from handmade import SPEC, figures, study, trial
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs, note_ver_key, split_body
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from search.dashboard.notes import OWN, study_note, trial_note, write_notes
from search.dashboard.server import TITLES, Shown, _note, update
from search.report.load_results import collect
from search.report.pages.study_page import CHARTS
from search.storage.study_state import load_study
from search.strategy.warm_start import weights_only

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


def add_promising(found: optuna.Study) -> int:
    """Add a trial that is faster than all, misses the rule and is predicted to keep it; its number."""
    best = found.get_trials(states=(optuna.trial.TrialState.COMPLETE,))[-1]
    missed = {**best.user_attrs["candidate"], "accuracy_percent": 55.0}
    about = {**best.user_attrs, "candidate": missed, "shortfall": 5.0, "constraint": -1.0}
    fast = {"value": 1e-6, "system_attrs": {"constraints": [-1.0]}}
    found.add_trial(
        optuna.create_trial(params=best.params, distributions=best.distributions, user_attrs=about, **fast)
    )
    return found.get_trials()[-1].number


def note_of(attributes: dict[str, object], trial_id: int) -> str:
    return str(get_note_from_system_attrs(attributes, trial_id)["body"])


def test_a_note_says_what_the_candidate_is_and_how_it_measured() -> None:
    note = trial_note(study(), study().trials[0], {})
    assert "**Complete, keeps the rule**: 71.20 % of the validation images are right, 71.00 % are required" in note
    assert "11 of 13 blocks (without 7 8), int8 with uint8 in- and outputs, 1 thread: " in note
    assert "12 epochs, beginning with the weights of the base." in note
    assert "| block 6 | 512 → 256 | 50 % | 1 → 1 |" in note and "block 7" not in note
    assert "| latency, median [ms] | 0.0123 |" in note
    assert "| energy per image [mJ] | 0.0592 (estimated) |" in note
    assert "Time: train 90.0 s, measure 2.00 s." in note


def test_a_note_says_why_a_trial_is_infeasible_pruned_or_failed() -> None:
    infeasible, pruned, failed = (trial_note(study(), study().trials[number], {}) for number in (1, 2, 3))
    assert infeasible.startswith("**Infeasible**: 66.60 % of the validation images are right, 71.00 % are required")
    assert pruned.startswith("**Pruned**: slower than the best: 0.5 ms \\> 0.0123 ms\n")
    assert "12 epochs planned" in pruned
    assert failed.startswith("**Failed**: \\</script\\>\\<script\\>alert('ä')\\</script\\> \\& \\[bold\\]ms")


def test_a_note_tells_whose_weights_they_are() -> None:
    child = replace(SPEC, parent=weights_only(SPEC))
    finalist = trial(9, spec=child, finalist_of=4, curve=(70.0,), figures=figures())
    assert "A finalist: trial 4, trained on. 12 epochs, beginning with the weights of trial 4." in trial_note(
        study(), finalist, {weights_only(SPEC): 4, weights_only(child): 9}
    )
    converted = trial(10, spec=child, figures=figures())
    assert "Its weights are those of trial 9, in its own format." in trial_note(
        study(), converted, {weights_only(child): 9}
    )
    assert "with the weights of another study's candidate." in trial_note(study(), finalist, {})


def test_the_study_s_note_gives_the_best_and_how_to_read_the_pages() -> None:
    note = study_note(study(road="energy"))
    assert note.startswith("**73.0 x less energy per image (estimated) than the unpruned base at 71.02 % test accura")
    assert "| energy per image [mJ], est. | 0.0592 | 4.32 | 73.0 x less |" in note
    assert "est.: from an assumed power, not measured." in note
    assert "- **Road**: lowest energy per image \\[mJ\\], estimated" in note
    assert "- **Device, meter**: local, estimate://4.8W" in note
    assert "How to read" in note
    assert study_note(study(best=None)).startswith("**No candidate has met the rule yet.**")


def test_a_person_s_own_words_stay_and_nothing_is_written_twice(squares_copy: Path) -> None:
    found, config = stored(squares_copy), squares.read(squares_copy / "squares.toml")
    seen = update(found, config)
    mine = f"{get_note(found)}\nlook at trial 2"
    save_note(found, mine)
    before = found._storage.get_study_system_attrs(found._study_id)
    assert update(found, config, seen) == seen
    write_notes(found, collect(found, config))
    assert found._storage.get_study_system_attrs(found._study_id) == before
    assert get_note(found).partition(OWN)[2] == "\nlook at trial 2"
    save_note(found, "all my own")
    for _ in range(2):
        write_notes(found, collect(found, config))
        assert get_note(found).partition(OWN)[2] == "\n\nall my own"

    asked = found.ask()
    asked.set_user_attr("reason", "converter: no such operator")
    found.tell(asked, state=optuna.trial.TrialState.FAIL)
    assert update(found, config, seen) != seen
    after = found._storage.get_study_system_attrs(found._study_id)
    assert note_of(after, asked._trial_id) == "**Failed**: converter: no such operator"
    assert get_note(found).endswith("\n\nall my own")


def test_what_misses_the_rule_is_infeasible_whatever_it_promises() -> None:
    found = optuna.create_study()
    for value, shortfall in ((1.0, 3.0), (2.0, -0.5), (3.0, 0.2)):
        candidate = {"accuracy_percent": 70.0, "sha256": str(value)}
        about = {"shortfall": shortfall, "constraint": -1.0, "candidate": candidate}
        found.add_trial(optuna.create_trial(value=value, user_attrs=about, system_attrs={"constraints": [-1.0]}))
    given_up = optuna.trial.TrialState.PRUNED
    found.add_trial(optuna.create_trial(state=given_up, value=44.0, intermediate_values={1: 44.0}))

    shown = Shown(found).get_all_trials(found._study_id)
    assert [trial.constraints.get("0") for trial in shown] == [3.0, -0.5, 0.2, None]
    assert shown[3].value is None, "an accuracy is no objective"
    assert Shown(found).get_best_trial(found._study_id).number == 1
    assert [trial.constraints.get("0") for trial in found.get_trials()] == [-1.0, -1.0, -1.0, None], "as TPE learns it"


def test_notes_are_read_as_the_library_reads_them() -> None:
    attributes = {**split_body("ab" * 3000, 3), **split_body("a study's", None), **split_body("another", 31)}
    attributes |= {note_ver_key(3): 2, note_ver_key(None): 1, "dashboard:3:note_str:3": ""}  # cleared, once longer
    for trial_id in (3, None, 4):
        assert _note(attributes, trial_id) == get_note_from_system_attrs(attributes, trial_id)


def test_a_port_in_use(finished: Finished) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = squares.refused("dashboard", "squares.toml", "--port", str(port), folder=finished.folder)
    assert line.startswith(f"thrones: port {port} of 127.0.0.1 cannot be listened on (Address already in use); ")
    assert re.search(r"name another: --port \d+$", line)


def test_which_study(finished: Finished, tmp_path: Path) -> None:
    line = squares.refused("dashboard", folder=tmp_path)
    assert line == "thrones: which study? runs holds no study; name its file: thrones dashboard STUDY"
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "study.db").touch()
    assert "runs holds one, two; name its file" in squares.refused("dashboard", folder=tmp_path)


def test_ctrl_c_ends_it_quietly_and_it_serves_this_computer_alone(squares_copy: Path) -> None:
    with served(squares_copy) as (address, process):
        port = int(address.split(":")[2].split("/")[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/1", timeout=30) as answer:
            detail = json.load(answer)
        shown = {chart["id"] for chart in detail["plotly_graph_objects"]}
        assert {"history_chart", "accuracy_chart", "curves_chart"} <= shown <= TITLES.keys()
        assert TITLES.keys() == {chart.__name__ for chart in CHARTS}
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


def test_the_pages_in_a_browser(browser: webdriver.Chrome, squares_copy: Path, tmp_path: Path) -> None:
    found = stored(squares_copy)
    infeasible = add_promising(found)
    results = collect(found, squares.read(squares_copy / "squares.toml"))
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
        wait_for("Complete, keeps the rule: ")
        wait_for("model.tflite")
        browser.find_element(By.CSS_SELECTOR, 'a[download="model.tflite"]').click()
        model = tmp_path / "downloads" / "model.tflite"
        WebDriverWait(browser, WAIT_S).until(lambda b: model.exists(), "the download")
    assert best.figures and sha256(model.read_bytes()).hexdigest() == best.figures.sha256
