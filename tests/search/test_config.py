"""Study files: those that ship are good, and a wrong one is refused with file, key, value and remedy, in one line."""

from pathlib import Path

import pytest
from paths import STUDIES

from compress.errors import UsageError
from search.config import load_config
from search.strategy.search_space import params

STUDIES = sorted((STUDIES).glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_file_that_ships_loads_and_its_initial_candidates_fit_its_space(path: Path, tmp_path: Path) -> None:
    config = load_config(path, tmp_path)
    assert (config.name, config.folder) == (path.stem, tmp_path / path.stem)
    assert config.initial_specs() or config.grid or config.dry_run
    for spec in config.initial_specs():
        assert params(spec, config.space)
    if config.fallback is not None:
        assert load_config(path.parent / config.fallback, tmp_path).data == "digits"


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    config = load_config(_file(tmp_path, 'road = "fom"'), tmp_path)
    assert (config.data, config.budget.minutes, config.constraint.accuracy_percent, config.initial_specs()) == (
        "cifar10",
        120.0,
        None,
        [],
    )


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", "auto"),
        ('[measure]\nfinal = "short"', "auto"),
        ('[measure]\nsearch = "short"', "short"),
        ("[grid]\npruning_ratio = [0.5]\nepochs = [1]", "whole"),
        ('[grid]\npruning_ratio = [0.5]\nepochs = [1]\n[measure]\nfinal = "short"', "whole"),
        ('[grid]\npruning_ratio = [0.5]\nepochs = [1]\n[measure]\nsearch = "auto"', "auto"),
    ],
)
def test_a_grid_measures_whole_test_sets_unless_its_file_names_a_plan(text: str, plan: str, tmp_path: Path) -> None:
    assert load_config(_file(tmp_path, f'road = "fom"\n{text}'), tmp_path).search_plan == plan


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "digits"', ['"road" is missing', "latency, energy, fom"]),
        ('road = "speed"', ['"road" must be', "'latency', 'energy' or 'fom'", "got 'speed'"]),
        ('road = "fom"\nbugdet = 3', ['unknown key "bugdet"', 'did you mean "budget"?']),
        ('road = "fom"\n[bugdet]\ntrials = 3', ['unknown key "bugdet"', 'did you mean "budget"?']),
        ('road = "fom"\n[budget]\ntrails = 3', ['unknown key "trails" in [budget]', 'did you mean "trials"?']),
        ('road = "fom"\n[budget]\nxyz = 3', ['unknown key "xyz" in [budget]', "known keys: trials, minutes"]),
        (
            'road = "fom"\n[[initial]]\npruning_ratio = 0.5',
            ['unknown key "pruning_ratio" in [initial', 'did you mean "pruning_ratios"?'],
        ),
        ('road = "fom"\n[budget]\ntrials = 0', ['"trials" in [budget]', "greater than or equal to 1", "got 0"]),
        ('road = "fom"\n[budget]\nminutes = nan', ['"minutes" in [budget]', "got nan"]),
        ('road = "fom"\n[budget]\nminutes = "an hour"', ['"minutes" in [budget]', "valid number", "got 'an hour'"]),
        ('road = "fom"\nbudget = 3', ['"budget"', "got 3"]),
        (
            'road = "fom"\n[constraint]\naccuracy_percent = 100',
            ['"accuracy_percent" in [constraint]', "less than 100", "got 100"],
        ),
        ('road = "fom"\n[space]\npruning_ratio = [0.0, 1.0]', ["[space]", "0 <= low <= high < 1", "got [0.0, 1.0]"]),
        ('road = "fom"\n[space]\npruning_ratio = [0.5]', ['[space', "pruning_ratio"]),
        ('road = "fom"\n[space]\nepochs = [9, 3]', ["[space]", "epochs", "got [9, 3]"]),
        ('road = "fom"\n[space]\ndistill_weight = [0.0, 0.25]', ["[space]", "multiples of 0.1", "[0.0, 0.25]"]),
        ('road = "fom"\n[space]\nround_to = []', ['"round_to" in [space]', "got []"]),
        ('road = "fom"\n[space]\nthreads = [0]', ["[space]", "threads must be >= 1", "[0]"]),
        ('road = "fom"\n[space]\nstem_stride = [3]', ["stem_stride", "1, 2 or 4", "got 3"]),
        ('road = "fom"\n[space]\nquantization = ["int4"]', ["[space]", "qat_int8", "got int4"]),
        ('road = "fom"\n[space]\nio_dtype = "int4"', ["[space]", "uint8", "got int4"]),
        ('road = "fom"\n[measure]\nfinal = "quick"', ["[measure]", "metered, whole, short, final", "got quick"]),
        (
            'road = "fom"\n[[initial]]\npruning_ratios = 1.0',
            ["[[initial]]", "pruning ratio must be >= 0 and < 1", "got 1.0"],
        ),
        ('road = "fom"\n[[initial]]\npruning_ratios = [0.5, 0.5]', ["[[initial]]", "14 numbers", "got 2"]),
        ('road = "fom"\n[[initial]]\npruning_ratios = nan', ["pruning_ratios", "initial", "nan"]),
        ('road = "fom"\n[[initial]]\ndropped_blocks = [13]', ["[[initial]]", "dropped_blocks", "0..12", "[13]"]),
        ('road = "fom"\n[[initial]]\nquantization = "int4"', ["[[initial]]", "quantization", "got int4"]),
        ('road = "fom"\n[[initial]]\nepochs = 1.5', ["initial", "epochs", "1.5"]),
        ('road = "fom', ["is no TOML"]),
        ("road: fom", ["is no TOML"]),
    ],
)  # fmt: skip
def test_a_wrong_study_file_is_refused_in_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    path = _file(tmp_path, text)
    line = _refused(path)
    assert line.startswith(f"{path}")
    for word in words:
        assert word in line, line


def test_a_missing_file_lists_those_that_are_there(tmp_path: Path) -> None:
    known = _file(tmp_path, 'road = "fom"')
    assert str(known) in _refused(tmp_path / "latncy.toml")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in _refused(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is no TOML" in _refused(binary)


def _file(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(path)
    line = str(caught.value)
    assert "\n" not in line
    assert "Traceback" not in line and "pydantic" not in line
    return line
