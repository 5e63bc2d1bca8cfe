"""What quantization-aware training brings over int8 after training: `make qat-table` writes studies/results/qat.csv.

Each winner's architecture begins with the base's weights and is trained in float; from these very weights the way goes
on to int8 after training, and to aware epochs with BatchNorm statistics of the last batch (momentum 0.1) or of some
twenty (0.95). The accuracy is that of the `.tflite` on the 5,000 validation images, where one standard deviation is
0.6 points; the same images for all ways of a row, so that their differences vary less. One after the other on one
core, half an hour; rows that are in the table already are not made again.
"""

import csv
import json
import time
from typing import Any

import numpy as np
from paths import RESULTS

TABLE = RESULTS / "qat.csv"
ROADS = ("latency", "energy", "fom")
SEEDS = (0, 1)
EPOCHS = 6
AWARE_EPOCHS = max(1, EPOCHS // 4)
RATE = 0.05
MOMENTA = (0.1, 0.95)
COLUMNS = ("network", "macs", "seed", "float_epochs", "aware_epochs", "way", "validation_percent", "minutes")


def rows(road: str, seed: int, teacher: Any) -> list[dict[str, Any]]:
    """All ways for one winner's architecture; `teacher`: the base's logits for the training images."""
    from compress.conversion.convert import ConversionJob, convert
    from compress.datasets.load import load
    from compress.network import Weights, build, quantization_aware
    from compress.prune import inherit
    from compress.quantization import Quantization
    from compress.spec import CompressionSpec
    from compress.tensorflow_setup import keras
    from compress.training.train import Trainer, train
    from compress.training.train_plan import TrainPlan
    from edge.devices.local import LocalDevice
    from search.candidate.inputs.base_network import bundled_weights

    spec = CompressionSpec.from_dict({**json.loads((RESULTS / road / "spec.json").read_text()), "parent": None})
    shape, data, base = spec.architecture(), load("cifar10"), bundled_weights()
    found: list[dict[str, Any]] = []

    def trained(network: Any, epochs: int, rate: float, first_epoch: int) -> Weights:
        plan = TrainPlan(epochs, rate, crop_padding=2, distill_weight=spec.distill_weight)
        trainer = Trainer(
            network, plan, *data.train, seed=seed, flip=True, first_epoch=first_epoch, teacher_logits=teacher
        )
        train(trainer, data.validation)
        trainer.finish()
        return list(network.get_weights())

    def note(way: str, weights: Weights, quantization: Quantization, began: float) -> None:
        calibration = data.calibration() if quantization.needs_calibration else None
        model = convert(ConversionJob(shape, weights, quantization, "float32", calibration))
        labels = LocalDevice().predict(model, data.validation[0])
        percent = float(np.mean(labels == data.validation[1]) * 100)
        minutes = (time.monotonic() - began) / 60
        values = (road, shape.macs, seed, EPOCHS, AWARE_EPOCHS, way, round(percent, 2), round(minutes, 1))
        found.append(dict(zip(COLUMNS, values, strict=True)))

    began = time.monotonic()
    network = build(shape)
    network.set_weights(inherit(base, spec))
    weights = trained(network, EPOCHS, RATE, 0)
    note("float32", weights, Quantization.FLOAT32, began)
    note("int8 after training", weights, Quantization.INT8, time.monotonic())
    for momentum in MOMENTA:
        began = time.monotonic()
        network = build(shape, for_export=True)
        network.set_weights(weights)
        network = quantization_aware(network)
        for wrapper in network.layers:
            layer = getattr(wrapper, "layer", None)
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
        aware = trained(network, AWARE_EPOCHS, RATE / 10, EPOCHS)
        note(f"aware, momentum {momentum}", aware, Quantization.QAT_INT8, began)
    return found


def main() -> None:
    """Make all rows that the table lacks."""
    from compress.datasets.load import load
    from compress.tensorflow_setup import limit_threads
    from compress.training.train import logits
    from search.candidate.context import build_base_network
    from search.candidate.inputs.base_network import bundled_weights

    limit_threads(1)
    teacher = logits(build_base_network(bundled_weights()), load("cifar10").train[0])
    if not TABLE.exists():
        TABLE.write_text(",".join(COLUMNS) + "\n")
    with TABLE.open() as file:
        known = {(row["network"], int(row["seed"])) for row in csv.DictReader(file)}
    for seed in SEEDS:
        for road in ROADS:
            if (road, seed) not in known:
                made = rows(road, seed, teacher)
                with TABLE.open("a", newline="") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(made)
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
