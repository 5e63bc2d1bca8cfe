"""The device that is this machine: a bad model takes only its own child process along."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.devices import measuring_child as child
from edge.devices.measuring_queue import WAITING, count_turns, turn
from edge.errors import EdgeError, InvalidMeasurementError, ModelError, UnavailableError, one_line
from edge.measuring.attempts import measure_until_believed, weigh
from edge.measuring.environment import read_environment, throttling_between
from edge.measuring.measurement import Environment, Idle, Measurement, Window
from edge.measuring.plan import MeasurePlan
from edge.measuring.training_lock import training_held
from edge.meters.meter import Meter
from edge.records import build_record, error_from_dict
from edge.runtime.tflite import check_header, check_images

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

# Python and the runtime start in 1 s on a laptop and in 10 s on a Pi with a slow card; the rest is for a busy
# machine.
START_ALLOWANCE_S = 60.0
# The unpruned net takes about 0.1 s an image on a Pi 3B+: a candidate that needs twice and a half that is no
# candidate.
SLOWEST_IMAGE_S = 0.25
COOL_LIMIT_S = 300.0
BOARD = "local"
_COOL_STEP_S = 2.0
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP})


class LocalDevice:
    """Measures on this machine, each model in a fresh child process; one call at a time, other processes' included.

    `meter` stays the caller's to open and close; without one, power and energy are not measured. `phase` says what
    is being done; `cancel` ends it from another thread. `tell` hears of waiting for other processes.
    """

    def __init__(
        self,
        meter: Meter | None = None,
        start_allowance_s: float = START_ALLOWANCE_S,
        tell: Callable[[str], object] = lambda phase: None,
    ) -> None:
        self.url = "local:"
        self.phase = "ready"
        self._meter = meter
        self._start_allowance_s, self._tell = start_allowance_s, tell
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self._meter is not None

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        return 0.0 if self._meter is None else self._meter.shortest_window_s

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`."""
        return count_turns(BOARD)

    def environment(self) -> Environment:
        """This machine now. Raises nothing."""
        return read_environment()

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`; `pixels` is one of `edge.runtime.preprocessing.PIXELS`."""
        return self.measure_in_turns([model], plan, images, pixels)[0]

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`."""
        wants_idle = self._meter is not None and not self._meter.estimated
        return measure_until_believed(lambda: self.attempt(models, plan, images, wants_idle, pixels), plan, self._rest)

    def attempt(
        self,
        models: Sequence[bytes],
        plan: MeasurePlan,
        images: NDArray[np.uint8],
        wants_idle: bool,
        pixels: str = "raw",
    ) -> list[Measurement]:
        """One attempt by the plan, weighed but not judged. Raises as `edge.devices.device.Device.measure` does."""
        for model in models:
            check_header(model)
        check_images(images)
        with self._turn():
            self._cool_down(plan)
            throttled_before = self.environment().throttled
            limit_s = time_limit_s(plan, len(images), self._start_allowance_s, len(models))
            job = {"task": "measure", "plan": plan.to_dict(), "pixels": pixels}
            with training_held(self._rest, self._tell) if plan.hold_training else nullcontext():
                idle = self._stand_idle(plan) if wants_idle and plan.idle_s else None
                self.phase = "measuring"
                result, _ = self._run_job(models, images, job, limit_s)
        measurements = [
            self._read_measurement(model, plan, idle, measured)
            for model, measured in zip(models, result["measured"], strict=True)
        ]
        new = throttling_between(throttled_before, measurements[-1].environment.throttled)
        if new:  # the windows may be even all the same: it can have been held back in every one of them
            raise InvalidMeasurementError(
                f"the processor was held back while it measured ({', '.join(new)})",
                remedy="let it cool down or use a stronger supply",
            )
        if self._meter is None:
            return measurements
        return [weigh(measurement, self._meter) for measurement in measurements]

    def _read_measurement(
        self, model: bytes, plan: MeasurePlan, idle: Idle | None, measured: dict[str, Any]
    ) -> Measurement:
        return Measurement(
            sha256=hashlib.sha256(model).hexdigest(),
            model_bytes=len(model),
            plan=plan,
            windows=tuple(build_record(Window, window) for window in measured["windows"]),
            peak_memory_mb=measured["peak_memory_mb"],
            memory_growth_mb=measured["memory_growth_mb"],
            load_ms=measured["load_ms"],
            environment=build_record(Environment, measured["environment"]),
            device=self.url,
            meter="none",
            estimated=False,
            idle=idle,
            taken_at_s=measured["taken_at_s"],
        )

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`; `pixels` is one of `edge.runtime.preprocessing.PIXELS`."""
        check_header(model)
        check_images(images)
        limit_s = self._start_allowance_s + len(images) * SLOWEST_IMAGE_S
        with self._turn():
            self.phase = "predicting"
            _, labels = self._run_job([model], images, {"task": "predict", "pixels": pixels}, limit_s)
        if labels is None:
            raise UnavailableError(
                "the predicting process left no labels",
                remedy="is the temporary folder cleaned by others?",
            )
        return labels

    def cancel(self) -> None:
        """End what another thread is doing: it raises UnavailableError. Nothing can be asked of this device later."""
        self._cancelled.set()
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Nothing is held between two calls."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """This machine for the caller alone: two that measure at a time would slow each other down."""
        self.phase = WAITING
        try:
            with turn(BOARD, self._rest, self._tell):
                yield
        finally:
            self.phase = "ready"

    def _rest(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise UnavailableError("cancelled")

    def _cool_down(self, plan: MeasurePlan) -> None:
        """Wait until the processor is cool enough, on a Raspberry Pi: the limit is about its throttling."""
        self.phase = "cooling down"
        waited_s = 0.0
        while plan.cool_below_c is not None:
            now = self.environment()
            if now.throttled is None or now.temperature_c is None or now.temperature_c < plan.cool_below_c:
                return
            if waited_s >= COOL_LIMIT_S:
                raise InvalidMeasurementError(
                    f"the processor is at {now.temperature_c:.1f} C after {waited_s:.0f} s of "
                    f"rest, the limit is {plan.cool_below_c:g} C",
                    remedy="put a fan on it",
                )
            self._rest(_COOL_STEP_S)
            waited_s += _COOL_STEP_S

    def _stand_idle(self, plan: MeasurePlan) -> Idle:
        self.phase = "idle baseline"
        start_s = time.monotonic()
        self._rest(plan.idle_s)
        return Idle(start_s, time.monotonic())

    def _run_job(
        self, models: Sequence[bytes], images: NDArray[np.uint8], job: dict[str, Any], limit_s: float
    ) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
        """One job from writing its folder to reading the result and, for a prediction, the labels."""
        self._rest(0.0)  # raises when it has been cancelled
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
                labels = folder / child.LABELS
                return result, (np.load(labels) if labels.exists() else None)
        except OSError as error:
            reason = "is full" if error.errno == errno.ENOSPC else "cannot be used"
            raise UnavailableError(
                f"temporary folder {tempfile.gettempdir()} {reason} ({one_line(error)})",
                remedy="free space or set TMPDIR",
            ) from error

    def _run_child(self, folder: Path, limit_s: float) -> None:
        """Runs the child to its end. Raises ModelError for a crash or overrun, else UnavailableError."""
        root = str(Path(child.__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
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
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                    start_new_session=True,
                )
            except OSError as error:
                raise UnavailableError(
                    f"cannot start {sys.executable} ({one_line(error)})",
                    remedy="is memory short?",
                ) from error
            if self._cancelled.is_set():  # since the check above, when there was no process to kill yet
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


def time_limit_s(
    plan: MeasurePlan, images: int, start_allowance_s: float = START_ALLOWANCE_S, models: int = 1
) -> float:
    """Seconds after which a measuring child counts as hung:

    start allowance + models x (warm-up + windows x (window_s + slowest image) + passes x images x slowest image).
    """
    timed_s = plan.windows * (plan.window_s + SLOWEST_IMAGE_S) + plan.passes * images * SLOWEST_IMAGE_S
    return start_allowance_s + models * (plan.warmup_s + SLOWEST_IMAGE_S + timed_s)


def child_command(folder: Path) -> list[str]:
    """What is started for a job folder; tests put a crashing or hanging program here."""
    return [sys.executable, "-m", "edge.devices.measuring_child", str(folder)]


def _explain_overrun(limit_s: float, started: bool) -> EdgeError:
    if started:
        return ModelError(
            f"the model ran past its time limit of {limit_s:.1f} s and was stopped: it hangs or is too slow"
        )
    return UnavailableError(
        f"the runtime did not load within {limit_s:.1f} s",
        remedy="is the machine overloaded?",
    )


def _explain_exit(code: int, started: bool, stderr: Path) -> EdgeError:
    if code < 0 and -code in _CRASHES and started:
        name = signal.Signals(-code).name
        return ModelError(
            f"the model crashed the interpreter (signal {-code}, {name})",
            remedy="is it damaged? convert it anew",
        )
    if code < 0:
        return UnavailableError(
            f"the measuring process was ended by signal {-code}, not by the model",
            remedy="is memory short?",
        )
    lines = stderr.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1].strip()}" if lines else ""
    return UnavailableError(f"the measuring process failed with exit code {code}, try `{sys.executable} -m edge`{last}")


def _read_result(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / child.RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"the measuring process left no result ({one_line(error)})",
            remedy="is the disk full?",
        ) from error
    if not isinstance(result, dict):
        raise UnavailableError(
            f"the measuring process left a {type(result).__name__}, not a result",
            remedy="measure again",
        )
    if "error" in result:
        raise error_from_dict(result)
    return result
