"""Body of the fresh process that runs one model: `python -m edge.child JOBFOLDER`, started by `edge.local`.

The folder holds job.json, model.tflite and images.npy; what is left there is `started` (the runtime is
loaded, from here on a crash is the model's), then result.json and, for a prediction, labels.npy. Linux only:
memory is read from /proc.
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

from edge.environment import read_environment
from edge.errors import EdgeError, InfeasibleError, UnavailableError, one_line
from edge.interpreter import load_runtime, open_runner, predict
from edge.plan import MeasurePlan
from edge.timing import time_windows

JOB, MODEL, IMAGES, STARTED, RESULT, LABELS = (
    "job.json", "model.tflite", "images.npy", "started", "result.json", "labels.npy",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1
_EMPTY_FRAME_RUNS = 3
_MEMORY_SHARE = 0.9
# What ONNX Runtime says, in errors of several kinds.
_NO_MEMORY = ("std::bad_alloc", "bad allocation", "Failed to allocate memory")


def main(folder: Path) -> None:
    """Does the folder's job and leaves the result, or {"error": kind, "message": ...}, in result.json."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    _die_with_parent(job["parent_pid"])
    try:
        result = _do(job, folder)
    except EdgeError as error:
        short = any(words in str(error) for words in _NO_MEMORY)
        result = {"error": type(error).__name__, "message": _explain_memory() if short else str(error)}
    except MemoryError:
        result = {"error": InfeasibleError.__name__, "message": _explain_memory()}
    except OSError as error:
        fault_text = f"the measuring process cannot use {folder} ({one_line(error)}): is the disk full?"
        result = {"error": UnavailableError.__name__, "message": fault_text}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    with (folder / MODEL).open("rb") as file:
        load_runtime(file.read(8))
    (folder / STARTED).touch()
    _limit_memory()
    images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
    pixels = job.get("pixels", "raw")
    if job["task"] == "predict":
        np.save(folder / LABELS, predict((folder / MODEL).read_bytes(), images, pixels=pixels))
        return {}
    return _measure(folder / MODEL, images, MeasurePlan.from_dict(job["plan"]), pixels)


def _measure(model: Path, images: NDArray[np.uint8], plan: MeasurePlan, pixels: str) -> dict[str, Any]:
    _reset_peak()
    before_mb = _memory_mb("VmRSS")
    start_ns = time.monotonic_ns()
    runner = open_runner(model.read_bytes(), plan.threads)
    load_ms = (time.monotonic_ns() - start_ns) / 1e6
    try:
        # The peak is read before the images come in: as floats 10,000 of them take 123 MB, and they are not
        # the model's.
        runner.set_input(runner.blank)
        for _ in range(_EMPTY_FRAME_RUNS):
            runner.invoke()
            runner.get_output()
        peak_mb = _memory_mb("VmHWM")

        encoded = runner.encode(images, pixels)
        windows = time_windows(
            set_input=runner.set_input,
            invoke=runner.invoke,
            get_output=runner.get_output,
            frames=[encoded[i : i + 1] for i in range(len(encoded))],
            plan=plan,
        )
    except runner.failures as error:
        raise InfeasibleError(f"model fails while it runs: {one_line(error)}; convert it anew") from error
    runtime, delegate = runner.describe()
    environment = dataclasses.replace(read_environment(), runtime=runtime, delegate=delegate)
    return {
        "windows": [dataclasses.asdict(window) for window in windows],
        "peak_memory_mb": peak_mb,
        "memory_growth_mb": max(0.0, peak_mb - before_mb),
        "load_ms": load_ms,
        "environment": dataclasses.asdict(environment),
    }


def _die_with_parent(parent_pid: int) -> None:
    # The kernel's word works even while native code holds the interpreter lock; a thread watching a pipe
    # would not.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)


def _limit_memory() -> None:
    """So that a model which eats up the memory ends this process, not the agent or the session beside it."""
    free_mb = _memory_mb("MemAvailable", Path("/proc/meminfo"))
    limit = round((_memory_mb("VmData") + _MEMORY_SHARE * free_mb) * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    try:
        # Where memory runs short all the same, the first to go. Some sandboxes refuse: then the kernel chooses.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _explain_memory() -> str:
    limit_mb = resource.getrlimit(resource.RLIMIT_DATA)[0] / 1e6
    return (
        f"the model and its images need more than {limit_mb:,.0f} MB, "
        f"{_MEMORY_SHARE:.0%} of this device's free memory: use a smaller model"
    )


def _reset_peak() -> None:
    # What the imports needed for a moment is not the model's peak. Some kernels and containers refuse: then
    # it stays in.
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _memory_mb(key: str, path: Path = Path("/proc/self/status")) -> float:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise UnavailableError(f"{path} has no {key}: memory is measured on Linux with /proc mounted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
