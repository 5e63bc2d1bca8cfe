"""Trained weights beside the models: what one worker has trained, any other goes on from without training it again."""

import zipfile
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from compress.errors import one_line
from compress.spec import CompressionSpec
from edge.errors import UnavailableError
from search.candidate.context import Bench
from search.candidate.train import made_with_key, remember, stored_weights, untrained
from search.storage.artifacts import is_of_s3
from search.storage.trial_attributes import upload
from search.strategy.history import spec_of, trained
from search.strategy.warm_start import weights_only

LARGEST_BYTES = 1_000_000
"""Larger weights are not kept: those of a winner have 40 kB, those of the unpruned network 13 MB, which a grid trains
some thirty times over."""
NAME = "weights.npz"
WEIGHTS = f"artifact {NAME}"
"""A trial's attribute with the id of its weights."""
MADE_WITH = "weights made with"
"""A trial's attribute: what its weights depend on besides its specification, as a hash."""


def attach_weights(trial: optuna.Trial, bench: Bench, spec: CompressionSpec) -> None:
    """Keep the trained weights as an artifact of the trial, unless they are large.

    Raises UnavailableError where a bucket does not take them.
    """
    content = stored_weights(bench, spec)
    if content is None or len(content) > LARGEST_BYTES:
        return
    trial.set_user_attr(MADE_WITH, made_with_key(bench))  # first: without it the weights are nobody's
    upload(trial, bench.artifacts, NAME, content)


def obtainable(bench: Bench, trials: Sequence[FrozenTrial]) -> list[CompressionSpec]:
    """The study's candidates whose trained weights are among its artifacts, made as this bench makes them."""
    made_with = made_with_key(bench)
    return trained(trial for trial in trials if _has_weights(trial, made_with))


def fetch_weights(bench: Bench, trials: Sequence[FrozenTrial], spec: CompressionSpec) -> None:
    """Put what another worker has trained of `spec` into the cache: its own weights, or its nearest ancestor's.

    What is not to be had is left to be trained. Raises UnavailableError where the artifacts cannot be read.
    """
    missing = untrained(bench, spec)
    if not missing:
        return
    made_with = made_with_key(bench)
    there = {weights_only(spec_of(trial)): trial for trial in trials if _has_weights(trial, made_with)}
    for each in reversed(missing):
        trial = there.get(weights_only(each))
        content = None if trial is None else _read(bench, trial)
        if content is not None:
            remember(bench, each, content)
            return


def _has_weights(trial: FrozenTrial, made_with: str) -> bool:
    return WEIGHTS in trial.user_attrs and trial.user_attrs.get(MADE_WITH) == made_with


def _read(bench: Bench, trial: FrozenTrial) -> bytes | None:
    """The weights of a trial; None where they are gone or damaged."""
    bench.progress.phase(f"fetching the weights of trial {trial.number}")
    try:
        with bench.artifacts.open_reader(trial.user_attrs[WEIGHTS]) as file:
            content = file.read()
    except ArtifactNotFound:
        return None
    except Exception as error:
        if not (isinstance(error, OSError) or is_of_s3(error)):
            raise
        raise UnavailableError(f"the weights of trial {trial.number} cannot be read: {one_line(error)}") from error
    try:
        with np.load(BytesIO(content)) as archive:
            for name in archive.files:
                archive[name]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        return None
    return content
