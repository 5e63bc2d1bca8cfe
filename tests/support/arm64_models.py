"""Writes two real models for arm64.sh: the base with half of its channels gone, as float32 and as int8."""

import sys
from pathlib import Path

import numpy as np
from paths import ROOT

from compress.conversion.convert import ConversionJob, convert
from compress.network import load_weights
from compress.prune import inherit
from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec

base = load_weights(ROOT / "compress" / "weights" / "mobilenet_v1_cifar10.npz")
spec = CompressionSpec(pruning_ratios=(0.5,) * PRUNED_LAYERS, stem_stride=2)
noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
for quantization, io_dtype in ((Quantization.FLOAT32, "float32"), (Quantization.INT8, "int8")):
    model = convert(ConversionJob(spec.architecture(), inherit(base, spec), quantization, io_dtype, noise))
    (Path(sys.argv[1]) / f"half-{quantization}.tflite").write_bytes(model)
