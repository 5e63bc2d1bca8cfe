"""Build and measure a winner again, as the rules of the competition ask: the basis of Table 3 and of M3."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from compress.conversion.operators import verify_operators
from compress.datasets.dataset import Dataset
from compress.errors import CandidateError, UsageError, one_line
from edge.comparison import Images, compare
from edge.devices.local import LocalDevice
from edge.errors import EdgeError
from edge.measuring.plan import plan_for
from edge.runtime.tflite import read_operators
from search.candidate.build import convert
from search.candidate.context import TrialContext, open_context
from search.candidate.train_candidate import train_with_parents
from search.progress import Progress
from search.report.anonymize import anonymize_measurement
from search.report.formatting import percent
from search.storage.cache import Cache
from search.strategy.early_stopping import accuracy_sigma
from search.submission.reproduction import Differing, Rebuilt, Reproduction
from search.submission.winner import Winner

MAX_DIFFERING_SHARE = 0.002
"""Share of the test images that host and device may label differently: int8 rounds differently on x86 and arm64."""
SHARED_ENTRIES = ("teacher", "bases")
"""Kinds of cache entries that depend on no candidate: rebuilding takes them over and makes all others anew."""

Labels = NDArray[np.int64]


def reproduce(
    winner: Winner,
    data: Dataset,
    progress: Progress,
    *,
    plan_name: str = "final",
    runs: int = 3,
    rebuild: bool = True,
) -> Reproduction:
    """Check the stored bytes on host and device, build them again from their specification, and measure them.

    Args:
        winner: The winner to reproduce.
        data: The data set; all of its test images are used.
        progress: Shows phases and lines.
        plan_name: The measurement protocol.
        runs: How often to measure over the test set.
        rebuild: Whether to train and convert again.

    Raises:
        UsageError: The accuracy misses the constraint, host and device disagree on too many images, or base or
            specification are not those of the winner.
    """
    config = winner.config
    cache = Cache(config.folder.parent / "cache")
    rebuilding = Cache(config.folder / "rebuilding")
    if rebuild:
        _copy_shared_entries(cache, rebuilding)
    with open_context(config, data, progress, rebuilding if rebuild else cache) as context:
        plan = replace(plan_for(plan_name, context.device.shortest_window_s), threads=winner.spec.threads)
        if rebuild:
            _check_base(winner, context.base_key)
        _check_spec(winner)
        labels = data.test[1]
        host, device = _predict(context, winner.model)
        differing = _differing(host, device, labels)
        accuracy = accuracy_percent(device, labels)
        for line in check(accuracy, context.constraint_percent, len(labels), differing):
            progress.line(line)
        rebuilt = _rebuild(context, winner) if rebuild else None
        models = [(config.name, winner.model)]
        (entry,) = compare(context.device, models, plan, Images(data.test[0]), runs, "raw", progress.phase)
        shutil.rmtree(rebuilding.folder, ignore_errors=True)  # kept only by a killed process, which then resumes
        return Reproduction(
            name=config.name,
            road=str(config.road),
            data=data.name,
            sha256=winner.sha256,
            rule_percent=context.constraint_percent,
            test_images=len(labels),
            test_accuracy_percent=accuracy,
            host_accuracy_percent=accuracy_percent(host, labels),
            differing=differing,
            rebuilt=rebuilt,
            runs=tuple(map(anonymize_measurement, entry.rounds)),
            base=winner.base,
        )


def accuracy_percent(predicted: Labels, labels: NDArray[np.integer]) -> float:
    """Return the share of equal labels in percent; both of shape (N,)."""
    return float(np.mean(predicted == labels) * 100)


def check(accuracy: float, rule_percent: float, images: int, differing: Sequence[Differing]) -> list[str]:
    """Return warnings about the labels of a winner.

    Args:
        accuracy: Test accuracy on the device in percent.
        rule_percent: The accuracy constraint in percent.
        images: The number of test images.
        differing: The images that host and device label differently.

    Raises:
        UsageError: The accuracy misses the constraint, or too many images differ.
    """
    if len(differing) > MAX_DIFFERING_SHARE * images:
        first = ", ".join(str(each.image) for each in differing[:5])
        raise UsageError(
            f"host and device label {len(differing)} of {images:,} images differently "
            f"(limit {MAX_DIFFERING_SHARE:.1%}), among them {first}",
            remedy="is the same runtime installed on both? check with `thrones doctor`",
        )
    if accuracy < rule_percent:
        raise UsageError(
            f"{percent(accuracy)} % of the test images misses the rule of {rule_percent:g} %",
            remedy="raise margin_sigmas in [constraint] and search again under another name (to try others on the "
            "test images would be to choose by them)",
        )
    sigma = accuracy_sigma(rule_percent, images)
    if accuracy < rule_percent + sigma:
        above = f"{accuracy - rule_percent:.2f} points above the rule of {rule_percent:g} %"
        return [f"warning: {percent(accuracy)} % is only {above}, one sigma of {images:,} images is {sigma:.2f}"]
    return []


def _copy_shared_entries(source: Cache, target: Cache) -> None:
    for kind in SHARED_ENTRIES:
        if (source.folder / kind).is_dir():
            shutil.copytree(source.folder / kind, target.folder / kind, dirs_exist_ok=True)


def _predict(context: TrialContext, model: bytes) -> tuple[Labels, Labels]:
    """Return the labels that host and device give to every test image; int64 (N,) each."""
    images = context.data.test[0]
    context.progress.phase(f"accuracy on all {len(images):,} test images")
    with LocalDevice() as here:  # a process of its own, as on any device: a model may crash it
        host = here.predict(model, images)
    if context.device.url == here.url:
        return host, host
    return host, context.device.predict(model, images)


def _differing(host: Labels, device: Labels, labels: NDArray[np.integer]) -> tuple[Differing, ...]:
    found = np.flatnonzero(host != device)
    return tuple(Differing(int(n), int(labels[n]), int(host[n]), int(device[n])) for n in found)


def _check_base(winner: Winner, base_key: str) -> None:
    """Raise UsageError where the winner was built from another base than the study has now."""
    if winner.base in (None, base_key):
        return
    base = winner.config.base or "the bundled one"
    raise UsageError(
        f"{winner.where} uses a different base than {base}", remedy="pass its own with --base, or use --no-rebuild"
    )


def _check_spec(winner: Winner) -> None:
    """Raise UsageError where the specification describes another model than the stored one."""
    spec = winner.spec
    try:
        verify_operators(read_operators(winner.model), spec.architecture(), spec.quantization, spec.io_dtype)
    except (CandidateError, EdgeError) as error:
        raise UsageError(f"{winner.where}: its specification does not lead to its model: {one_line(error)}") from error


def _rebuild(context: TrialContext, winner: Winner) -> Rebuilt:
    """Build the model again from the base; no trained network is taken from the cache."""
    context.progress.phase(f"rebuilding, {winner.spec.all_epochs} epochs with those of its parents")
    trained = train_with_parents(context, winner.spec)
    model = convert(context, winner.spec, trained.weights)
    images, labels = context.data.test
    with LocalDevice() as here:
        accuracy = accuracy_percent(here.predict(model, images), labels)
    rebuilt = Rebuilt(sha256(model).hexdigest(), accuracy)
    context.progress.line(_comparison(rebuilt, winner, model))
    return rebuilt


def _comparison(rebuilt: Rebuilt, winner: Winner, model: bytes) -> str:
    if rebuilt.sha256 == winner.sha256:
        return f"rebuilt from spec, base, data and seed: the same bytes, sha256 {rebuilt.sha256[:12]}"
    return (
        f"rebuilt: other bytes, sha256 {rebuilt.sha256[:12]} instead of {winner.sha256[:12]}, {len(model):,} bytes "
        f"instead of {len(winner.model):,}, test accuracy {percent(rebuilt.test_accuracy_percent)} %. "
        "Another version of thrones may train differently (CHANGELOG). Another processor, number of threads or library "
        "version rounds sums differently, and training magnifies that. The stored file was measured; submit that one."
    )
