"""What brings accuracy: `make training-table` trains one small network in many ways and writes the table.

The network is of the size that the roads find; each way changes one thing against the first. Two run at a time, each
on one core. Half an hour on two cores; ways that are in the table already are not run again. One standard deviation of
an accuracy on 5,000 validation images is 0.6 points.
"""

import csv
import sys
import time
from typing import Any

from pairs import run_in_pairs
from paths import RESULTS

TABLE = RESULTS / "training.csv"
FIRST: dict[str, Any] = {
    "epochs": 20,
    "learning_rate": 0.05,
    "batch_size": 64,
    "weight_decay": 0.005,
    "shift_pixels": 4,
    "label_smoothing": 0.0,
    "distill_weight": 0.0,
    "temperature": 4.0,
    "inherit": True,
}
COLUMNS = ("way", *FIRST, "loss", "validation_percent", "minutes")
WAYS: dict[str, dict[str, Any]] = {
    "first": {},
    "shifts of 2": {"shift_pixels": 2},
    "distilled 0.5": {"distill_weight": 0.5},
    "distilled 0.9": {"distill_weight": 0.9},
    "distilled 0.9 at 2": {"distill_weight": 0.9, "temperature": 2.0},
    "rate 0.1": {"learning_rate": 0.1},
    "rate 0.02": {"learning_rate": 0.02},
    "decay 0.001": {"weight_decay": 0.001},
    "from scratch": {"inherit": False},
    "batches of 32": {"batch_size": 32},
    "batches of 128": {"batch_size": 128},
    "mirrored only": {"shift_pixels": 0},
    "smoothed 0.1": {"label_smoothing": 0.1},
    "10 epochs": {"epochs": 10},
    "40 epochs": {"epochs": 40},
    "shifts of 2, distilled 0.5": {"shift_pixels": 2, "distill_weight": 0.5},
    "shifts of 2, distilled 0.9 at 2": {"shift_pixels": 2, "distill_weight": 0.9, "temperature": 2.0},
    "shifts of 2, decay 0.002": {"shift_pixels": 2, "weight_decay": 0.002},
    "shifts of 1": {"shift_pixels": 1},
    "shifts of 2, 40 epochs": {"shift_pixels": 2, "epochs": 40},
}


def train_one(way: str) -> None:
    """Train in this way and append its line to the table."""
    from compress.datasets.load import load
    from compress.network import build
    from compress.prune import inherit
    from compress.spec import CompressionSpec
    from compress.tensorflow_setup import tf
    from compress.training.train import Trainer, TrainPlan, logits, train
    from search.candidate.context import build_base_network
    from search.candidate.inputs.base_network import bundled_weights

    tf.config.threading.set_intra_op_parallelism_threads(1)
    started = time.monotonic()
    setting = {**FIRST, **WAYS[way]}
    # Stem 16 and blocks of 32, 64 and 96 channels at 8, 8 and 4 pixels: 0.41 M MACs.
    ratios = [0.0] * 14
    for layer, fraction in ((0, 0.5), (2, 0.75), (3, 0.5), (4, 0.625)):
        ratios[layer] = fraction
    spec = CompressionSpec(
        pruning_ratios=tuple(ratios), dropped_blocks=(0, *range(4, 13)), stem_stride=2, epochs=1
    )
    data = load("cifar10")
    base = bundled_weights()
    network = build(spec.architecture())
    if setting["inherit"]:
        network.set_weights(inherit(base, spec))
    names = {"shift_pixels": "crop_padding"}  # the table's columns stay
    plan = TrainPlan(**{names.get(key, key): value for key, value in setting.items() if key != "inherit"})
    teacher = logits(build_base_network(base), data.train[0]) if plan.distill_weight else None
    trainer = Trainer(network, plan, *data.train, seed=0, flip=True, teacher_logits=teacher)
    *_, last = train(trainer, data.validation)
    row = {
        "way": way,
        **setting,
        "loss": round(last.loss, 3),
        "validation_percent": round(last.accuracy, 2),
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    with TABLE.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(row)


def main() -> None:
    """Train in all ways that the table lacks, two at a time."""
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    if not TABLE.exists():
        TABLE.write_text(",".join(COLUMNS) + "\n")
    with TABLE.open() as file:
        known = {row["way"] for row in csv.DictReader(file)}
    run_in_pairs(__file__, [[way] for way in WAYS if way not in known])
    print(TABLE.read_text())


if __name__ == "__main__":
    train_one(sys.argv[1]) if len(sys.argv) > 1 else main()
