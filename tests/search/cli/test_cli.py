"""The command as a user meets it: help that comes at once, and bad input that ends with one line and exit code 2."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import models
import pytest
import squares
from conftest import Finished
from paths import ROOT

from compress.datasets.load import load
from compress.errors import DatasetNotFoundError, UsageError
from search.candidate.inputs import resolve_dataset as dataset
from search.candidate.inputs.resolve_dataset import resolve_study

COMMANDS = ("run", "status", "best", "report", "pretrain", "data", "measure", "worker", "dashboard")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a study file and its images; nothing has been run there."""
    squares.write_images(tmp_path / "squares.npz")
    squares.write_study(tmp_path / "squares.toml", squares.SMALL, trials=1)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example(command: str) -> None:
    shown = squares.thrones(*command.split(), "--help", folder=ROOT)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"Example: thrones {command or 'run'}" in shown.stdout
    if not command:
        assert all(f" {name} " in shown.stdout for name in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    code = [sys.executable, "-X", "importtime", "-m", "search", "--help"]
    loaded = {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True).stderr.splitlines()
    }
    assert "typer" in loaded
    assert not loaded & {"tensorflow", "tf_keras", "keras", "optuna", "pandas", "plotly", "sklearn", "sqlalchemy"}


@pytest.mark.slow
def test_what_only_reads_a_study_loads_no_tensorflow() -> None:
    report = "search.report.load_results, search.report.tables, search.report.pages.study_page"
    modules = f"search.storage.open_storage, search.storage.trial_record, {report}"
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "status", "best", "report"])
def test_an_unknown_study_file(command: str, folder: Path) -> None:
    line = squares.refused(command, "sqares.toml", folder=folder)
    assert line == "thrones: sqares.toml does not exist; did you mean squares.toml?"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "best", "report"])
def test_a_study_that_was_never_run(command: str, folder: Path) -> None:
    line = squares.refused(command, "squares.toml", folder=folder)
    assert line == "thrones: runs/squares/study.db does not exist; start the study with `thrones run`"
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_a_wrong_key(folder: Path) -> None:
    (folder / "x.toml").write_text('road = "latency"\n[budget]\ntrails = 3\n')
    line = squares.refused("run", "x.toml", folder=folder)
    assert line == 'thrones: x.toml: unknown key "trails" in [budget]; did you mean "trials"?'


@pytest.mark.slow
def test_an_initial_candidate_outside_the_space(folder: Path) -> None:
    squares.write_study(folder / "x.toml", "pruning_ratios = 0.97\nstem_stride = 4\n", trials=1)
    line = squares.refused("run", "x.toml", folder=folder)
    assert "[[initial]]" in line
    assert "pruning ratio 0.97 is outside the space's 0.0..0.95; widen pruning_ratio in [space]" in line
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_data_that_is_not_there(folder: Path) -> None:
    study = folder / "y.toml"
    study.write_text('road = "latency"\n')
    assert "--data: nowhere does not exist" in squares.refused("run", "y.toml", "--data", "nowhere", folder=folder)
    assert "THRONES_DATA: nowhere" in squares.refused("run", "y.toml", folder=folder, THRONES_DATA="nowhere")
    assert "data_batch_1 is missing" in squares.refused("data", "--data", ".", folder=folder)
    study.write_text('road = "latency"\ndata = "nowhere.npz"\n')
    line = squares.refused("run", "y.toml", folder=folder)
    assert line == f"thrones: y.toml: data nowhere.npz is not there; looked for {folder / 'nowhere.npz'}"
    assert "--minutes inf: wanted a number" in squares.refused("run", "y.toml", "--minutes", "inf", folder=folder)
    for option in ("--data", "--test-deployment"):
        line = squares.refused("run", "squares.toml", option, "x", folder=folder)
        assert line == f"thrones: {option} x is for cifar10, and the data here is squares.npz; leave it out"


@pytest.mark.parametrize("key", ["data", "base"])
def test_data_and_base_are_found_beside_the_study_file_or_else_in_the_working_folder(
    key: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(value: str) -> str | None:
        text = f'road = "latency"\n{key} = "{value}"\n' + ('data = "digits"\n' if key == "base" else "")
        study.write_text(text + "[constraint]\naccuracy_percent = 60\n")
        config = resolve_study(study, Path("runs"), None, None)[0]
        return str(getattr(config, key))

    study = Path("studies/x.toml")
    (folder / "studies").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    with pytest.raises(UsageError) as caught:
        named("own.npz")
    places = f"{folder}/studies/own.npz and {folder}/own.npz"
    assert str(caught.value) == f"studies/x.toml: {key} own.npz is not there; looked for {places}"
    shutil.copy("squares.npz", "own.npz")
    assert named("own.npz") == "own.npz"
    shutil.copy("squares.npz", "studies/own.npz")
    assert named("own.npz") == "studies/own.npz"
    assert named(f"{folder}/own.npz") == f"{folder}/own.npz"
    (folder / "home").mkdir()
    shutil.copy("squares.npz", "home/own.npz")
    assert named("~/own.npz") == f"{folder}/home/own.npz"


@pytest.mark.slow
def test_a_missing_base_is_reported_before_anything_is_loaded(folder: Path) -> None:
    line = squares.refused("run", "squares.toml", "--base", "nowhere.npz", folder=folder)
    assert line.startswith("thrones: --base nowhere.npz does not exist; give an .npz of `thrones import`")
    assert not (folder / "runs").exists()


def without_constraint(folder: Path) -> Path:
    """Return its study without an accuracy constraint; its images have none either."""
    study = folder / "squares.toml"
    study.write_text(study.read_text().replace("accuracy_percent = 60\n", ""))
    return study


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "worker"])
def test_a_search_on_own_images_needs_a_constraint(command: str, folder: Path) -> None:
    without_constraint(folder)
    line = squares.refused(command, "squares.toml", folder=folder)
    assert line.startswith("thrones: squares.toml: squares.npz has no accuracy constraint of its own")
    assert "under [constraint]: accuracy_percent = 90" in line
    assert not (folder / "runs").exists()


def test_a_grid_on_own_images_needs_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = without_constraint(folder)
    study.write_text(study.read_text() + "[grid]\npruning_ratio = [0.5]\nepochs = [0]\n")
    monkeypatch.chdir(folder)
    config, found = resolve_study(study, folder / "runs", None, None)
    assert (config.constraint.percent_on(found.data.rule_percent), found.data.rule_percent) == (0.0, None)


@pytest.mark.slow
def test_no_network_for_the_download(folder: Path) -> None:
    # A proxy where nobody listens: the download fails at once, on any machine.
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "THRONES_DATA": ""}
    (folder / "y.toml").write_text('road = "latency"\n')
    line = squares.refused("run", "y.toml", folder=folder, HOME=str(folder), KERAS_HOME=str(folder / "k"), **nowhere)
    assert "CIFAR-10 could not be downloaded" in line and "--data or THRONES_DATA" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "model.tflite"),
        (b"not a model at all", "TFL3"),
        (models.float_model()[:5000], "cannot be loaded"),
        (models.float_model(side=28), "(1, 28, 28, 3)"),
    ],
    ids=["missing", "text", "truncated", "other shape"],
)
def test_measure_refuses_what_is_no_model_of_ours(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.tflite").write_bytes(content)
    ended = squares.thrones("measure", "model.tflite", folder=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_measure_with_images_gives_their_accuracy(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(models.float_model())
    ended = squares.thrones("measure", "model.tflite", "--images", "squares.npz", "--json", folder=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert '"accuracy' in ended.stdout


def test_data_shows_what_was_found(folder: Path) -> None:
    ended = squares.thrones("data", "squares.npz", folder=folder)
    key = load(str(folder / "squares.npz")).key
    assert ended.stdout.splitlines() == [
        "squares from squares.npz",
        f"270 train, 30 validation, 100 test images; key {key}",
    ]


@pytest.mark.slow
def test_a_runs_folder_that_cannot_be_made(folder: Path) -> None:
    for place in ("squares.npz", "/proc/runs"):
        line = squares.refused("run", "squares.toml", "--runs", place, folder=folder)
        assert line.startswith(f"thrones: {place}") and line.endswith("; name a place that can be written")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a disk can be mounted by root alone")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("free_kb", [0, 300])
def test_a_full_disk(free_kb: int, small_disk: Path, squares_copy: Path) -> None:
    base = squares_copy / "runs" / "cache"
    base.rename(small_disk.parent / "cache")  # where there is space: what is tested is the study's own folder
    (small_disk / "runs").mkdir()
    (small_disk / "runs" / "cache").symlink_to(small_disk.parent / "cache")
    (small_disk / "filler").write_bytes(bytes(1024 * (1024 - free_kb - 8)))
    line = squares.refused("run", "squares.toml", "--runs", str(small_disk / "runs"), folder=squares_copy)
    assert "free" in line and "space" in line


def test_the_quickstart_falls_back_to_the_digits_and_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, folder: Path | None) -> object:
        if name == "cifar10":
            raise DatasetNotFoundError("CIFAR-10 could not be downloaded (no route to host)")
        return load(name, folder)

    monkeypatch.setattr(dataset, "load", offline)
    config, found = resolve_study(ROOT / "studies" / "quickstart.toml", Path("runs"), None, None)
    assert (config.name, config.data, found.data.name) == ("digits", "digits", "digits")
    assert str(found).startswith("digits: ")
    assert str(found).endswith(", because CIFAR-10 could not be downloaded (no route to host)")
    with pytest.raises(DatasetNotFoundError):
        resolve_study(ROOT / "studies" / "latency.toml", Path("runs"), None, None)


def test_the_quickstart_does_not_fall_back_from_a_folder_that_was_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist") as caught:
        resolve_study(ROOT / "studies" / "quickstart.toml", tmp_path, tmp_path / "nowhere", None)
    assert not isinstance(caught.value, DatasetNotFoundError)


@pytest.mark.slow
def test_a_stray_end_of_a_file_keeps_its_traceback(folder: Path) -> None:
    code = "from search.candidate.inputs import resolve_dataset as dataset\nfrom search.cli.app import main\n"
    code += "def find(*_): raise EOFError('No data left in file')\n"
    code += "dataset.resolve_dataset = find\nmain()"
    command = [sys.executable, "-c", code, "data", "digits"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and "Aborted" not in ended.stdout + ended.stderr
    assert "line 3, in find" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "RuntimeError: something ended too early: No data left in file"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "measure x.npz",
        "measure x.tflite",
        "measure model.tflite --images x.npz",
        "data x.npz",
        "pretrain x.npz",
        "import x.keras --data cifar.npz",
        "import x.h5 --data cifar.npz",
        "import x --data cifar.npz",
        "run squares.toml --base x.npz",
        "replay kept",
        "submit --check x.zip",
        "submit --check x.zip --data x.npz",
    ],
)
def test_an_empty_file_is_one_line(command: str, folder: Path) -> None:
    (folder / "squares.npz").rename(folder / "cifar.npz")
    study = folder / "squares.toml"
    study.write_text(study.read_text().replace("squares.npz", "cifar.npz"))
    (folder / "model.tflite").write_bytes(models.float_model())
    (folder / "kept").mkdir()
    for name in ("x.npz", "x.tflite", "x.keras", "x.h5", "x.index", "x.zip", "kept/model.tflite", "kept/spec.json"):
        (folder / name).touch()
    ended = squares.thrones(*command.split(), folder=folder)
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (2, 1), ended.stderr
    assert "Aborted" not in ended.stderr


@pytest.mark.slow
def test_output_into_a_closed_pipe_is_no_traceback(finished: Finished) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*squares.COMMAND, "status", "squares.toml"]
    ended = subprocess.run(command, cwd=finished.folder, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "Traceback" not in ended.stderr
