"""Old words of study files work on the command line: one line on stderr, and nothing in the output of scripts."""

import json
from pathlib import Path

import pytest
import squares
from paths import STUDIES


@pytest.mark.slow
def test_an_old_key_is_one_line_on_stderr_and_none_in_json(squares_copy: Path) -> None:
    study = squares_copy / "squares.toml"
    study.write_text(study.read_text().replace("[constraint]", "[rule]"))
    ended = squares.thrones("status", study.name, "--json", folder=squares_copy)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["best"]
    assert ended.stderr == 'squares.toml: old keys, valid in this version only: "rule" is now "constraint"\n'


@pytest.mark.slow
def test_the_old_name_of_the_dry_run_works(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    text = (STUDIES / "dry_run.toml").read_text()
    text = text.replace("trials = 100", "trials = 3").replace("train_s = 2.0", "train_s = 0.1")
    (tmp_path / "studies" / "dry_run.toml").write_text(text.replace("?seconds=2", ""))
    ended = squares.thrones("run", "rehearsal", "--workers", "2", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "rehearsal is now studies/dry_run.toml\n"
    assert "rehearsal is now" not in ended.stdout
    assert (tmp_path / "runs" / "dry_run" / "study.db").is_file()
    assert not list(Path(tmp_path).glob("runs/rehearsal"))
