"""Body of the fresh process that runs a job's models; `edge.devices.child_process` starts it.

The command is `python -m edge.devices.measuring_child JOBFOLDER`. The folder holds job.json, model-0.tflite
(and more) and images.npy. The process leaves `started` there (the runtime is loaded; a crash from here on is
the model's fault), then result.json and, for a prediction, labels.npy. Linux only: memory is read from /proc.
"""

import ctypes
import dataclasses
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, ThronesError, UnavailableError, one_line
from edge.measuring.environment import read_environment
from edge.measuring.plan import MeasurePlan
from edge.measuring.timing import Subject, time_in_turns
from edge.records import error_to_dict
from edge.runtime.tflite import load_runtime, open_runner, predict

JOB, IMAGES, STARTED, RESULT, LABELS = "job.json", "images.npy", "started", "result.json", "labels.npy"
_PR_SET_PDEATHSIG = 1
_EMPTY_FRAME_RUNS = 3
_MEMORY_SHARE = 0.9
# What ONNX Runtime says, in errors of several kinds.
_NO_MEMORY = ("std::bad_alloc", "bad allocation", "Failed to allocate memory")


def model_name(number: int) -> str:
    """Return the name of a job's model in its folder; a job has one, or several that are measured in turns."""
    return f"model-{number}.tflite"


def main(folder: Path) -> None:
    """Do the folder's job and leave the result, or the error (`edge.records.error_to_dict`), in result.json."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    _die_with_parent(job["parent_pid"])
    try:
        result = _do(job, folder)
    except ThronesError as error:
        result = error_to_dict(error)
        if any(words in error.message for words in _NO_MEMORY):
            result = error_to_dict(_explain_memory())
    except MemoryError:
        result = error_to_dict(_explain_memory())
    except OSError as error:
        message = f"the measuring process cannot use {folder} ({one_line(error)})"
        result = error_to_dict(UnavailableError(message, remedy="is the disk full?"))
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    models = [folder / model_name(number) for number in range(job["models"])]
    for model in models:
        with model.open("rb") as file:
            load_runtime(file.read(8))
    (folder / STARTED).touch()
    _limit_memory()
    images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
    pixels = job["pixels"]
    if job["task"] == "predict":
        np.save(folder / LABELS, predict(models[0].read_bytes(), images, pixels=pixels))
        return {}
    return _measure(models, images, MeasurePlan.from_dict(job["plan"]), pixels)


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A model, ready to run, and what it cost to load it."""

    runner: Any
    load_ms: float
    memory_growth_mb: float


def _measure(models: list[Path], images: NDArray[np.uint8], plan: MeasurePlan, pixels: str) -> dict[str, Any]:
    alone_mb = _memory_mb("VmRSS")
    loaded = [_load(model, plan.threads) for model in models]
    failures = tuple(kind for each in loaded for kind in each.runner.failures)
    try:
        encoded = [each.runner.encode(images, pixels) for each in loaded]
        subjects = [
            Subject(
                set_input=each.runner.set_input,
                invoke=each.runner.invoke,
                get_output=each.runner.get_output,
                frames=[frames[i : i + 1] for i in range(len(frames))],
            )
            for each, frames in zip(loaded, encoded, strict=True)
        ]
        windows = time_in_turns(subjects, plan)
    except failures as error:
        raise _explain_failure(error) from error
    here = read_environment()
    measured = []
    for each, own in zip(loaded, windows, strict=True):
        runtime, delegate = each.runner.describe()
        environment = dataclasses.replace(here, runtime=runtime, delegate=delegate)
        measured.append(
            {
                "windows": [dataclasses.asdict(window) for window in own],
                "peak_memory_mb": alone_mb + each.memory_growth_mb,
                "memory_growth_mb": each.memory_growth_mb,
                "load_ms": each.load_ms,
                "environment": dataclasses.asdict(environment),
                "taken_at_s": time.time(),
            }
        )
    return {"measured": measured}


def _load(model: Path, threads: int) -> _Loaded:
    """Load a model and run it a few times, which brings it to its full size.

    The peak is read before the images come in: as floats 10,000 of them take 123 MB, and they are not the model's.
    """
    _reset_peak()
    before_mb = _memory_mb("VmRSS")
    start_ns = time.monotonic_ns()
    runner = open_runner(model.read_bytes(), threads)
    load_ms = (time.monotonic_ns() - start_ns) / 1e6
    try:
        runner.set_input(runner.blank)
        for _ in range(_EMPTY_FRAME_RUNS):
            runner.invoke()
            runner.get_output()
    except runner.failures as error:
        raise _explain_failure(error) from error
    return _Loaded(runner, load_ms, max(0.0, _memory_mb("VmHWM") - before_mb))


def _explain_failure(error: BaseException) -> ModelError:
    return ModelError(
        f"model fails while it runs: {one_line(error)}",
        remedy="convert it anew",
    )


def _die_with_parent(parent_pid: int) -> None:
    # The kernel's signal works also while native code holds the interpreter lock; a thread watching a pipe would not.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def _limit_memory() -> None:
    """Limit the memory, so that a model that needs too much ends this process, not the agent or another program."""
    free_mb = _memory_mb("MemAvailable", Path("/proc/meminfo"))
    limit = round((_memory_mb("VmData") + _MEMORY_SHARE * free_mb) * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    try:
        # Where memory runs short all the same, the first to go. Some sandboxes refuse: then the kernel chooses.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _explain_memory() -> ModelError:
    limit_mb = resource.getrlimit(resource.RLIMIT_DATA)[0] / 1e6
    return ModelError(
        f"the model and its images need more than {limit_mb:,.0f} MB, "
        f"{_MEMORY_SHARE:.0%} of this device's free memory",
        remedy="use a smaller model",
    )


def _reset_peak() -> None:
    # The imports' own peak is not the model's. Some kernels and containers refuse: then it is included.
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _memory_mb(key: str, path: Path = Path("/proc/self/status")) -> float:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise UnavailableError(
        f"{path} has no {key}",
        remedy="memory is measured on Linux with /proc mounted",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
