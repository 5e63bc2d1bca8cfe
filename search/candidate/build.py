"""From weights to the bytes of a model."""

from dataclasses import asdict, replace
from typing import Any

from compress.conversion.convert import ConversionJob
from compress.conversion.operators import verify_operators
from compress.network import Weights
from compress.prune import inherit
from compress.spec import CompressionSpec
from compress.versions import conversion_versions
from edge.runtime.tflite import read_operators
from search.candidate.context import TrialContext
from search.candidate.weights import TrainedWeights


def convert(context: TrialContext, spec: CompressionSpec, weights: Weights) -> bytes:
    """Return the `.tflite` of a spec with these weights. Raises CandidateError."""
    calibration = context.data.calibration() if spec.quantization.needs_calibration else None
    job = ConversionJob(spec.architecture(), weights, spec.quantization, spec.io_dtype, calibration)
    with context.training_place:  # it takes a core, as a training does
        return context.converter.convert(job)


def convert_trained(context: TrialContext, spec: CompressionSpec, trained: TrainedWeights) -> bytes:
    """Return the `.tflite` of a trained candidate, from the cache or converted now. Raises CandidateError."""
    # The bytes do not depend on the interpreter's threads.
    key = {"spec": replace(spec, threads=1).to_dict(), **context.trained_with, **conversion_versions()}
    model = context.cache.get("model", key)
    if model is None:
        model = convert(context, spec, trained.weights)
        context.cache.put(model, "model", key)
    return model


def convert_untrained(context: TrialContext, spec: CompressionSpec) -> bytes:
    """Return the `.tflite` of an architecture with the weights that it inherits from the base."""
    key = {
        "structure": architecture_key(spec),
        "base": context.base_key,
        "data": context.data.key,
        **conversion_versions(),
    }
    model = context.cache.get("untrained", key)
    if model is None:
        untrained = replace(spec, quantization=spec.quantization.post_training, parent=None)
        model = convert(context, untrained, inherit(context.base, spec))
        context.cache.put(model, "untrained", key)
    return model


def architecture_key(spec: CompressionSpec) -> dict[str, Any]:
    """Return what speed and energy depend on: the graph and its numbers."""
    return {
        "architecture": asdict(spec.architecture()),
        "quantization": spec.quantization.post_training,
        "ends": spec.io_dtype,
    }


def checked_operators(spec: CompressionSpec, model: bytes) -> dict[str, int]:
    """Return the operators of a model and their numbers. Raises CandidateError where they are not the spec's."""
    return verify_operators(read_operators(model), spec.architecture(), spec.quantization, spec.io_dtype)
