"""Body of the fresh process that runs one model: `python -m edge.child JOBFOLDER`, started by `edge.local`.

The folder holds job.json, model.tflite and images.npy; what is left there is `started` (the runtime is
loaded, from here on a crash is the model's), then result.json and, for a prediction, labels.npy. Linux only:
memory is read from /proc.
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.environment import read_environment
from edge.errors import EdgeError, InfeasibleError, UnavailableError, one_line
from edge.interpreter import applied_delegate, encode_images, import_runtime, open_interpreter, predict
from edge.measurement import MeasurePlan
from edge.timing import time_windows

JOB, MODEL, IMAGES, STARTED, RESULT, LABELS = (
    "job.json", "model.tflite", "images.npy", "started", "result.json", "labels.npy",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1
_EMPTY_FRAME_RUNS = 3


def main(folder: Path) -> None:
    """Does the folder's job and leaves the result, or {"error": kind, "message": ...}, in result.json."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    _die_with_parent(job["parent_pid"])
    try:
        result = _do(job, folder)
    except EdgeError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        fault = InfeasibleError(
            "the model and its images do not fit into this device's memory: use a smaller model"
        )
        result = {"error": type(fault).__name__, "message": str(fault)}
    except OSError as error:
        fault_text = f"the measuring process cannot use {folder} ({one_line(error)}): is the disk full?"
        result = {"error": UnavailableError.__name__, "message": fault_text}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    import_runtime()
    (folder / STARTED).touch()
    images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
    if job["task"] == "predict":
        np.save(folder / LABELS, predict((folder / MODEL).read_bytes(), images))
        return {}
    return _measure(folder / MODEL, images, MeasurePlan.from_dict(job["plan"]))


def _measure(model: Path, images: NDArray[np.uint8], plan: MeasurePlan) -> dict[str, Any]:
    _reset_peak()
    before_mb = _memory_mb("VmRSS")
    start_ns = time.monotonic_ns()
    interpreter = open_interpreter(model.read_bytes(), plan.threads)
    load_ms = (time.monotonic_ns() - start_ns) / 1e6
    source = interpreter.get_input_details()[0]
    target_index = interpreter.get_output_details()[0]["index"]
    try:
        # The peak is read before the images come in: as floats 10,000 of them take 123 MB, and they are not
        # the model's.
        interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
        for _ in range(_EMPTY_FRAME_RUNS):
            interpreter.invoke()
            interpreter.get_tensor(target_index)
        peak_mb = _memory_mb("VmHWM")

        encoded = encode_images(images, source)
        windows = time_windows(
            set_input=lambda frame: interpreter.set_tensor(source["index"], frame),
            invoke=interpreter.invoke,
            get_output=lambda: interpreter.get_tensor(target_index),
            frames=[encoded[i : i + 1] for i in range(len(encoded))],
            plan=plan,
        )
    except (RuntimeError, ValueError) as error:
        raise InfeasibleError(f"model fails while it runs: {one_line(error)}; convert it anew") from error
    environment = dataclasses.replace(read_environment(), delegate=applied_delegate(interpreter))
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


def _reset_peak() -> None:
    # What the imports needed for a moment is not the model's peak. Some kernels and containers refuse: then
    # it stays in.
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _memory_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise UnavailableError(f"/proc/self/status has no {key}: memory is measured on Linux with /proc mounted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
