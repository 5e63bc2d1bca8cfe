"""Study files: the old spellings of keys are valid, and one file extends another."""

from pathlib import Path

import pytest
from paths import ROOT, STUDIES

from compress.errors import UsageError
from search.cli.options import by_name
from search.config import load_config, parse_config
from search.study_file import RENAMED, self_contained_text

OLD = """road = "latency"
otherwise = "digits.toml"
[rule]
accuracy_percent = 61
[space]
fraction = [0.1, 0.3]
ends = "uint8"
[training]
shift_pixels = 3
[finish]
candidates = 2
share = 0.25
[grid]
fraction = [0.5]
epochs = [1]
[rehearsal]
train_s = 5.0
[[start]]
fractions = 0.2
[[start]]
fractions = 0.3
"""


def test_old_keys_are_valid_and_one_line_names_the_new_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _file(tmp_path, OLD)
    config = load_config(path)
    assert (config.fallback, config.constraint.accuracy_percent, config.training.crop_padding) == ("digits.toml", 61, 3)
    assert (config.space.pruning_ratio, config.space.io_dtype) == ((0.1, 0.3), "uint8")
    assert (config.final_training.candidates, config.final_training.budget_fraction) == (2, 0.25)
    assert config.grid and config.grid.pruning_ratio == [0.5]
    assert config.dry_run and config.dry_run.train_s == 5.0
    assert [initial.pruning_ratios for initial in config.initial] == [0.2, 0.3]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: ") and "\n" not in line
    for section, keys in RENAMED.items():
        for old, new in keys.items():
            words = f'"{old}" in [{section}] is now "{new}"' if section else f'"{old}" is now "{new}"'
            assert line.count(words) == 1


def test_new_keys_and_stored_texts_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_config(STUDIES / "latency.toml", tmp_path)
    assert parse_config(OLD, tmp_path / "x.toml", tmp_path).final_training.candidates == 2
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[finish]\ncandidates = 1\n[final_training]\ncandidates = 2", 'keep "final_training" alone'),
        ("[space]\npruning_ratio = [0.1, 0.2]\nfraction = [0.1, 0.2]", 'in [space]; keep "pruning_ratio" alone'),
    ],
)
def test_both_spellings_at_once_are_an_error(text: str, words: str, tmp_path: Path) -> None:
    assert words in _refused(_file(tmp_path, f'road = "fom"\n{text}'))


@pytest.mark.parametrize("name", ["rehearsal", "studies/rehearsal.toml"])
def test_a_study_that_was_renamed_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    assert by_name(Path(name)) == Path("studies/dry_run.toml")
    assert [record.getMessage() for record in caplog.records] == [f"{name} is now studies/dry_run.toml"]


PARENT = """name = "parent"
road = "latency"
fallback = "digits.toml"
[budget]
trials = 7
minutes = 3
[space]
stem_stride = [2]
epochs = [1, 2]
[[initial]]
pruning_ratios = 0.1
"""
CHILD = """extends = "parent.toml"
road = "fom"
[budget]
minutes = 5
[training]
threads = 1
[[initial]]
pruning_ratios = [0.25, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
"""


def test_a_file_extends_another_key_by_key(tmp_path: Path) -> None:
    _file(tmp_path, PARENT, "parent.toml")
    config = load_config(_file(tmp_path, CHILD), tmp_path)
    assert (config.name, config.folder, config.road, config.fallback) == ("x", tmp_path / "x", "fom", "digits.toml")
    assert (config.budget.trials, config.budget.minutes, config.training.threads) == (7, 5, 1)
    assert (config.space.stem_stride, config.space.epochs) == ([2], (1, 2))
    first, second = config.initial_specs()
    assert (first.pruning_ratios[1], second.pruning_ratios[1]) == (0.5, 0.1)


def test_the_text_that_is_stored_stands_alone(tmp_path: Path) -> None:
    parent = _file(tmp_path, PARENT, "parent.toml")
    child = _file(tmp_path, CHILD)
    text = self_contained_text(child)
    config = load_config(child)
    assert self_contained_text(parent) == PARENT
    parent.unlink()
    assert parse_config(text, child, Path("runs")) == config
    with pytest.raises(UsageError):
        load_config(child)


def test_a_chain_of_files_with_old_keys_gives_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _file(tmp_path, 'road = "latency"\n[finish]\nshare = 0.3\ncandidates = 1', "first.toml")
    _file(tmp_path, 'extends = "first.toml"\n[rule]\nmargin_sigmas = 1', "second.toml")
    config = load_config(_file(tmp_path, 'extends = "second.toml"\n[final_training]\ncandidates = 3'))
    final = config.final_training
    assert (final.budget_fraction, final.candidates, config.constraint.margin_sigmas) == (0.3, 3, 1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert '"finish" is now "final_training"' in line and '"rule" is now "constraint"' in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('extends = "gone.toml"', "extends gone.toml, but"),
        ("extends = 3", '"extends" must be the name of a study file, got 3'),
        ('extends = "y.toml"', "extends goes in a circle: x.toml -> y.toml -> x.toml"),
        ('extends = "x.toml"', "extends goes in a circle: x.toml -> x.toml"),
        ('extends = "broken.toml"', "broken.toml is no TOML"),
    ],
)
def test_what_cannot_be_extended_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    _file(tmp_path, 'extends = "x.toml"\nroad = "fom"', "y.toml")
    _file(tmp_path, "road: fom", "broken.toml")
    assert words in _refused(_file(tmp_path, text))


def test_the_three_roads_differ_in_the_road_and_in_what_is_tried_first() -> None:
    latency, energy, fom = (load_config(STUDIES / f"{name}.toml") for name in ("latency", "energy", "fom"))
    assert (latency.road, energy.road, fom.road) == ("latency", "energy", "fom")
    assert energy.initial == fom.initial and energy.initial[2:] == latency.initial
    assert energy.space == fom.space == latency.space
    assert energy.final_training == fom.final_training == latency.final_training


def _file(folder: Path, text: str, name: str = "x.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(path)
    line = str(caught.value)
    assert "\n" not in line
    return line
