"""Trained weights: in the cache of this host, and beside the models, where other workers find them."""

import functools
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from optuna.artifacts.exceptions import ArtifactNotFound

from compress.errors import one_line
from compress.network import Weights
from compress.spec import CompressionSpec
from edge.errors import UnavailableError
from search.candidate.context import TrialContext
from search.storage.artifacts import is_of_s3
from search.storage.trial_history import trained_specs
from search.storage.trial_record import WEIGHTS, TrialRecord
from search.strategy.warm_start import weights_only

MAX_SHARED_BYTES = 1_000_000
"""Larger weights are not shared: those of a winner have 40 kB, those of the unpruned network 13 MB, which a grid trains
some thirty times over."""


@dataclass(frozen=True)
class TrainedWeights:
    """Weights, and the validation accuracy in percent after each epoch."""

    weights: Weights
    curve: tuple[float, ...]

    def to_npz(self) -> bytes:
        """Return the .npz that `from_npz` reads."""
        file = BytesIO()
        np.savez(file, *self.weights, np.array(self.curve))
        return file.getvalue()

    @classmethod
    def from_npz(cls, content: bytes) -> "TrainedWeights":
        """Return the weights and the curve of an .npz."""
        with np.load(BytesIO(content)) as archive:
            *weights, curve = (archive[name] for name in archive.files)
        return cls(weights, tuple(curve.tolist()))


def cached_weights(context: TrialContext, spec: CompressionSpec) -> TrainedWeights | None:
    """Return what was trained for the spec before; None where the cache does not have it."""
    content = cached_npz(context, spec)
    return None if content is None else TrainedWeights.from_npz(content)


def cached_npz(context: TrialContext, spec: CompressionSpec) -> bytes | None:
    """Return the cache's .npz of trained weights and curve, or None."""
    return context.cache.get("weights", _weights_key(context, spec))


def cache_npz(context: TrialContext, spec: CompressionSpec, content: bytes) -> None:
    """Put an .npz of trained weights and curve into the cache, where every study finds it."""
    context.cache.put(content, "weights", _weights_key(context, spec))


def _weights_key(context: TrialContext, spec: CompressionSpec) -> dict[str, Any]:
    return {"spec": weights_only(spec).to_dict(), **context.trained_with}


def untrained_specs(context: TrialContext, spec: CompressionSpec) -> list[CompressionSpec]:
    """Return what must be trained for a candidate, the oldest first: it and the parents that the cache lacks."""
    each: CompressionSpec | None = spec
    found: list[CompressionSpec] = []
    while each is not None and cached_npz(context, each) is None:
        found.insert(0, each)
        each = each.parent
    return found


def trained_before(context: TrialContext) -> list[CompressionSpec]:
    """Return what any study has trained from the same base, data and settings; the cache has its weights."""
    wanted = {**context.trained_with, "spec": None}
    keys = [key for (key,) in context.cache.keys("weights")]
    return [_spec_of(json.dumps(key["spec"])) for key in keys if {**key, "spec": None} == wanted]


@functools.lru_cache(maxsize=100_000)  # thousands of entries are listed before every trial
def _spec_of(text: str) -> CompressionSpec:
    return CompressionSpec.from_dict(json.loads(text))


def shareable_npz(context: TrialContext, spec: CompressionSpec) -> bytes | None:
    """Return the trained weights to keep beside the model; None where they are too large."""
    content = cached_npz(context, spec)
    if content is None or len(content) > MAX_SHARED_BYTES:
        return None
    return content


def shared_specs(context: TrialContext, records: Sequence[TrialRecord]) -> list[CompressionSpec]:
    """Return the study's candidates whose weights are among its artifacts, trained as this worker trains."""
    return trained_specs(record for record in records if _shares_weights(context, record))


def fetch_weights(context: TrialContext, records: Sequence[TrialRecord], spec: CompressionSpec) -> None:
    """Put what another worker has trained of `spec` into the cache: its own weights, or its nearest parent's.

    What cannot be had is left to be trained. Raises UnavailableError where the artifacts cannot be read.
    """
    missing = untrained_specs(context, spec)
    if not missing:
        return
    shared = {
        weights_only(record.spec): record
        for record in records
        if record.spec is not None and _shares_weights(context, record)
    }
    for each in reversed(missing):
        record = shared.get(weights_only(each))
        content = None if record is None else _read_artifact(context, record)
        if content is not None:
            cache_npz(context, each, content)
            return


def _shares_weights(context: TrialContext, record: TrialRecord) -> bool:
    return WEIGHTS in record.artifacts and record.weights_key == context.weights_key


def _read_artifact(context: TrialContext, record: TrialRecord) -> bytes | None:
    """Return the .npz of a trial; None where it is gone or damaged."""
    context.progress.phase(f"fetching the weights of trial {record.number}")
    try:
        with context.artifacts.open_reader(record.artifacts[WEIGHTS]) as file:
            content: bytes = file.read()
    except ArtifactNotFound:
        return None
    except Exception as error:
        if not (isinstance(error, OSError) or is_of_s3(error)):
            raise
        raise UnavailableError(f"the weights of trial {record.number} cannot be read: {one_line(error)}") from error
    return content if _is_whole(content) else None


def _is_whole(content: bytes) -> bool:
    try:
        with np.load(BytesIO(content)) as archive:
            for name in archive.files:
                archive[name]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        return False
    return True
