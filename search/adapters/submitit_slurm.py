"""submitit's words for Slurm's options."""

from collections.abc import Mapping

import submitit


def split_options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the options that submitit knows by name, and those that go to sbatch as they are."""
    known = submitit.SlurmExecutor._valid_parameters()
    named = {key: value for key, value in options.items() if key in known}
    others = {key.replace("_", "-"): value for key, value in options.items() if key not in known}
    return named, others
