"""Run a job in a fresh process: a bad model takes only that process along."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.devices import measuring_child as child
from edge.errors import EdgeError, ModelError, UnavailableError, one_line
from edge.records import error_from_dict

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP})


class ChildRunner:
    """Starts a child for each job; one job at a time. `cancel` ends it from another thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End what another thread runs or waits for here: it raises UnavailableError, and so do later calls."""
        self._cancelled.set()
        if self._process is not None:
            self._process.kill()

    def sleep(self, seconds: float) -> None:
        """Wait. Raises UnavailableError when cancelled."""
        if self._cancelled.wait(seconds):
            raise UnavailableError("cancelled")

    def run(
        self, models: Sequence[bytes], images: NDArray[np.uint8], job: dict[str, Any], limit_s: float
    ) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
        """Run one job, from writing its folder to reading what the child leaves there.

        Args:
            models: bytes of .tflite or .onnx files.
            images: uint8 (N, 32, 32, 3).
            job: what `edge.devices.measuring_child` reads: task, plan, pixels.
            limit_s: seconds after which the child is stopped.

        Returns:
            The child's result and, for a prediction, the labels, int64 (N,).

        Raises:
            ModelError: the model crashes the child or runs past the limit.
            UnavailableError: no fault of the model: cancelled, no room, killed.
        """
        self.sleep(0.0)  # raises when it has been cancelled
        try:
            with tempfile.TemporaryDirectory(prefix="thrones-", ignore_cleanup_errors=True) as name:
                folder = Path(name)
                for number, model in enumerate(models):
                    (folder / child.model_name(number)).write_bytes(model)
                np.save(folder / child.IMAGES, images)
                text = json.dumps({**job, "models": len(models), "parent_pid": os.getpid()})
                (folder / child.JOB).write_text(text, encoding="utf-8")
                self._run_child(folder, limit_s)
                result = _read_result(folder)
                labels = None
                if (folder / child.LABELS).exists():
                    labels = np.load(folder / child.LABELS)
                return result, labels
        except OSError as error:
            reason = "is full" if error.errno == errno.ENOSPC else "cannot be used"
            raise UnavailableError(
                f"temporary folder {tempfile.gettempdir()} {reason} ({one_line(error)})",
                remedy="free space or set TMPDIR",
            ) from error

    def _run_child(self, folder: Path, limit_s: float) -> None:
        stderr = folder / "stderr.txt"
        with stderr.open("wb") as sink:
            try:
                # A session of its own: Ctrl-C reaches the parent alone, which then ends the child below.
                process = self._process = subprocess.Popen(
                    child_command(folder),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    cwd=folder,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                message = f"cannot start {sys.executable} ({one_line(error)})"
                raise UnavailableError(message, remedy="is memory short?") from error
            if self._cancelled.is_set():  # since the check in `run`, when there was no process to kill yet
                process.kill()
            try:
                code = process.wait(timeout=limit_s)
            except subprocess.TimeoutExpired as error:
                raise _explain_overrun(limit_s, (folder / child.STARTED).exists()) from error
            finally:
                process.kill()
                process.wait()
        if self._cancelled.is_set():
            raise UnavailableError("cancelled")
        if code != 0:
            raise _explain_exit(code, (folder / child.STARTED).exists(), stderr)


def child_command(folder: Path) -> list[str]:
    """Return the command for a job folder; tests put a crashing or hanging program here."""
    return [sys.executable, "-m", "edge.devices.measuring_child", str(folder)]


def _environment() -> dict[str, str]:
    """Return the environment of the child, which finds this very package from any folder."""
    paths = [str(Path(child.__file__).resolve().parents[2])]
    if os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _explain_overrun(limit_s: float, started: bool) -> EdgeError:
    if started:
        return ModelError(
            f"the model ran past its time limit of {limit_s:.1f} s and was stopped: it hangs or is too slow"
        )
    message = f"the runtime did not load within {limit_s:.1f} s"
    return UnavailableError(message, remedy="is the machine overloaded?")


def _explain_exit(code: int, started: bool, stderr: Path) -> EdgeError:
    if code < 0 and -code in _CRASHES and started:
        name = signal.Signals(-code).name
        message = f"the model crashed the interpreter (signal {-code}, {name})"
        return ModelError(message, remedy="is it damaged? convert it anew")
    if code < 0:
        message = f"the measuring process was ended by signal {-code}, not by the model"
        return UnavailableError(message, remedy="is memory short?")
    message = f"the measuring process failed with exit code {code}"
    lines = stderr.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines:
        message += f" ({lines[-1].strip()})"
    return UnavailableError(message, remedy=f"try `{sys.executable} -m edge`")


def _read_result(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / child.RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"the measuring process left no result ({one_line(error)})"
        raise UnavailableError(message, remedy="is the disk full?") from error
    if not isinstance(result, dict):
        message = f"the measuring process left a {type(result).__name__}, not a result"
        raise UnavailableError(message, remedy="measure again")
    if "error" in result:
        raise error_from_dict(result)
    return result
