"""The contract with submitit: which options of Slurm it takes by name."""

from pathlib import Path

import pytest
import submitit

from search.adapters.submitit_slurm import split_options


def test_known_options_go_by_name_and_others_to_sbatch() -> None:
    given = {"partition": "gtx", "time": "4:00:00", "reservation": "ours", "ntasks_per_core": "1"}
    named, others = split_options(given)
    assert named == {"partition": "gtx", "time": "4:00:00"}
    assert others == {"reservation": "ours", "ntasks-per-core": "1"}, "sbatch has dashes"


def test_every_option_goes_one_way() -> None:
    assert split_options({}) == ({}, {})
    given = {"mem": "4G", "gres": "gpu:1", "qos": "low", "begin": "16:00", "nice": "10"}
    named, others = split_options(given)
    assert {**named, **others} == given
    assert not named.keys() & others.keys()


def test_submitit_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "srun"):
        command = tmp_path / name
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    named, others = split_options({"partition": "gtx", "cpus_per_task": "2", "reservation": "ours"})
    executor = submitit.SlurmExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(**named, additional_parameters=others)
    assert executor.parameters == {
        "partition": "gtx", "cpus_per_task": "2", "additional_parameters": {"reservation": "ours"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="reservation"):
        executor.update_parameters(**others)
