"""Results of a study made by hand: a best and a base, and a trial of each state."""

from optuna.trial import TrialState

from compress.architecture import BASE
from compress.spec import CompressionSpec
from edge.measuring.measurement import Attempt, Environment, Measurement, Window
from edge.measuring.plan import PLANS
from search.evaluation import EndReason, Phase
from search.objective import Objective
from search.report.results import Figures, StudyResults, TrialResult

NASTY = "</script><script>alert('ä')</script> & [bold]ms[/bold]"
SPEC = CompressionSpec(
    pruning_ratios=(0.5,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=12, quantization="int8", io_dtype="uint8"
)


def figures(name: str = "trial 0", **changes: object) -> Figures:
    values = {
        "name": name,
        "accuracy_percent": 71.2,
        "accuracy_of": "validation",
        "latency_ms": 0.0123456,
        "p90_ms": 0.0131,
        "spread": 0.02,
        "energy_mj": 0.0592,
        "power_w": 4.8,
        "estimated": True,
        "peak_memory_mb": 48.3,
        "memory_growth_mb": 0.4,
        "model_bytes": 43_216,
        "parameters": 31_415,
        "macs": 220_000,
        "sha256": "ab" * 32,
        "plan": "search",
    }
    return Figures(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def measurement(**changes: object) -> Measurement:
    """Two windows, after an attempt that was not believed."""
    windows = tuple(Window(at, at + 1.0, 100, 0.9, 9.0, 9.5, 4.8, 5.0) for at in (10.0, 12.0))
    values = {
        "sha256": "ab" * 32,
        "model_bytes": 43_216,
        "plan": PLANS["search"],
        "windows": windows,
        "peak_memory_mb": 48.3,
        "memory_growth_mb": 0.4,
        "load_ms": 1.0,
        "environment": Environment(
            "pi", "aarch64", "Cortex-A53", 4, "Debian 12", "3.11", "ai-edge-litert 2.3.0", "XNNPACK", "performance",
            1400.0, 55.0, "0x0",
        ),
        "device": "ssh://pi@raspberrypi.local",
        "meter": "estimate://4.8W",
        "estimated": True,
        "rejected": (Attempt("too unsteady", windows[:1]),),
    }  # fmt: skip
    return Measurement(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def trial(number: int, state: str = "COMPLETE", **changes: object) -> TrialResult:
    values = {
        "number": number,
        "state": TrialState[state],
        "end_reason": None,
        "reason": "",
        "feasible": state == "COMPLETE",
        "value": None,
        "figures": None,
        "spec": SPEC,
        "architecture": SPEC.architecture(),
        "operators": {},
        "curve": (),
        "seconds": {},
        "params": {},
    }
    return TrialResult(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def study(**changes: object) -> StudyResults:
    sizes = {"model_bytes": 12_870_000, "parameters": 3_217_226, "macs": 46_000_000, "memory_growth_mb": 14.0}
    test = {"accuracy_of": "test", "plan": "final"}
    base = figures("base", accuracy_percent=86.4, latency_ms=0.9, p90_ms=0.95, energy_mj=4.32, **sizes, **test)
    best = figures("best", accuracy_percent=71.02, latency_ms=0.0121, **test)
    slow = figures("trial 1", accuracy_percent=66.6, latency_ms=0.0321)
    values = {
        "name": "latency",
        "objective": Objective.LATENCY,
        "data": "cifar10",
        "data_source": "binary batches",
        "constraint_percent": 70.0,
        "required_percent": 71.0,
        "device": "local",
        "meter": "estimate://4.8W",
        "environment": {"cpu": "Cortex-A53", "governor": None, "note": NASTY},
        "base": base,
        "best": best,
        "best_trial": 0,
        "compared": True,
        "base_architecture": BASE,
        "importances": {"fraction_3": 0.61, "epochs": 0.12},
        "trials": (
            trial(
                0,
                value=0.0123456,
                figures=figures(),
                curve=(40.0, 71.2),
                seconds={Phase.TRAIN: 90.0, Phase.MEASURE: 2},
            ),
            trial(1, value=0.0321, figures=slow, feasible=False, curve=(30.0, 66.6), seconds={Phase.TRAIN: 60.0}),
            trial(
                2,
                "PRUNED",
                end_reason=EndReason.SLOWER_ARCHITECTURE,
                reason="slower than the best: 0.5 ms > 0.0123 ms",
                seconds={Phase.ARCHITECTURE: 4.0},
            ),
            trial(3, "FAIL", end_reason=EndReason.INTERNAL_ERROR, reason=NASTY, spec=None, architecture=None),
            trial(4, "RUNNING"),
        ),
    }
    return StudyResults(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


EMPTY = study(base=None, best=None, best_trial=None, compared=False, importances={}, trials=())
