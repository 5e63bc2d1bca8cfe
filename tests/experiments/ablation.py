"""What each part of the search brings: `make ablation` runs four searches for the same time, each with one part more.

Two run at a time, each on one core; 2 x 12 minutes. Every search starts from the same plain candidate, none of the
study files' own initial candidates, and ends with final trainings like any other. Writes studies/results/ablation.csv.
"""

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairs import run_in_pairs
from paths import RESULTS

TABLE = RESULTS / "ablation.csv"
MINUTES = 12
PARTS = ("architecture first", "inheritance", "mutations")
"""What the naive search lacks, in the order in which they are added."""
STUDY = f"""
road = "latency"
data = "cifar10"
[budget]
minutes = {MINUTES}
[space]
round_to = [1, 4, 8]
stem_stride = [1, 2, 4]
epochs = [2, 2]
distill_weight = [0.9, 0.9]
[training]
threads = 1
[final_training]
candidates = 4
epochs = 6
quantization = ["float32", "int8"]
[[initial]]
pruning_ratios = 0.5
dropped_blocks = [2, 4, 6, 7, 8, 9, 10, 11, 12]
stem_stride = 2
epochs = 2
distill_weight = 0.9
"""
COLUMNS = ("search", "trials", "trained", "feasible", "validation_percent", "test_percent", "latency_ms", "faster")


def without(part: str) -> None:
    """Take one part out of the search, in this process."""
    from compress.network import build
    from search.candidate import measure_candidate as measure
    from search.candidate import train_candidate as train
    from search.objective import Objective
    from search.runner import study
    from search.strategy import task
    from search.strategy.turns_verdict import Verdict

    if part == "architecture first":  # measured all the same, for two seconds a trial, but nothing follows from it
        Objective.bound = lambda *_: None
        measure.compare_in_turns = lambda *_: (Verdict.CAN_WIN, 1.0)
    elif part == "inheritance":
        refined_spec = task.refined_spec
        task.choose_parent = lambda spec, trained: spec
        task.refined_spec = lambda *found: replace(refined_spec(*found), parent=None)
        train.inherit = lambda base, spec: list(build(spec.architecture()).get_weights())
    else:
        study.propose = lambda *_: None


def run(level: int, folder: Path) -> None:
    """One search with the first `level` parts; appends its line to the table."""
    import optuna
    from rich.console import Console

    from compress.datasets.load import load
    from search.config import load_config
    from search.progress import Progress
    from search.report.load_results import load_results
    from search.runner.study import run_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for part in PARTS[level:]:
        without(part)
    path = folder / "ablation.toml"
    shutil.copytree(folder.parent / "cache", folder / "runs" / "cache")
    path.write_text(STUDY)
    config = load_config(path, folder / "runs")
    with (folder / "log").open("w") as log, Progress(Console(file=log, width=120), MINUTES) as progress:
        results = load_results(run_study(config, load(config.data), progress), config)
    trained = [trial for trial in results.trials if trial.figures is not None]
    best: Any = results.best
    row = {
        "search": " + ".join(("naive", *PARTS[:level])),
        "trials": len(results.trials),
        "trained": len(trained),
        "feasible": sum(trial.feasible for trial in trained),
        "validation_percent": "" if best is None else round(trained_accuracy(results), 2),
        "test_percent": "" if best is None else round(best.accuracy_percent, 2),
        "latency_ms": "" if best is None else round(best.latency_ms, 5),
        "faster": "" if best is None else round(results.speedup or 0.0, 1),
    }
    with TABLE.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(row)


def trained_accuracy(results: Any) -> float:
    """The best trial's accuracy on the validation images, by which it was chosen."""
    return next(float(trial.figures.accuracy_percent) for trial in results.trials if trial.number == results.best_trial)


def prepare(folder: Path) -> None:
    """What every search needs once, and none shall pay for: the base's logits for the training images."""
    from rich.console import Console

    from compress.datasets.load import load
    from compress.io import arrays_key
    from edge.measuring.training_lock import TrainingPlace
    from search.candidate.context import compute_teacher_logits
    from search.candidate.inputs.base_network import bundled_weights
    from search.progress import Progress
    from search.storage.cache import Cache

    base = bundled_weights()
    cache = Cache(folder / "cache")
    progress = Progress(Console(quiet=True), 0)
    compute_teacher_logits(base, arrays_key(base), load("cifar10"), cache, progress, TrainingPlace())


def main(folder: Path) -> None:
    """All four, two at a time."""
    prepare(folder)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(",".join(COLUMNS) + "\n")
    run_in_pairs(__file__, [[str(level), str(folder / str(level))] for level in range(len(PARTS) + 1)])
    print(TABLE.read_text())


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="thrones-ablation-") as temporary:
            main(Path(temporary))
