"""Check everything that can be wrong with a device or a meter, one by one, each with a verdict and a remedy."""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge.errors import EdgeError, ThronesError
from edge.measuring.environment import read_environment, throttling_now, throttling_since_boot
from edge.measuring.measurement import Environment
from edge.meters.meter import Meter
from edge.runtime.tflite import import_runtime

OK, DOUBTFUL, WRONG = "ok", "doubtful", "wrong"
MIN_MEMORY_MB, MIN_DISK_MB = 150, 300
WARM_C, HOT_C = 60.0, 80.0
"""The soft limit of a Pi 3B+, and the temperature from which every Pi is throttled."""
MAX_BUSY_CORES = 0.3
MIN_IDLE_W, MAX_IDLE_W = 1.0, 6.0
"""A Pi 3B+ at rest draws 2.7 to 2.9 W, with a chatty logger 3.6 W; other boards a little less or more."""
LISTEN_S = 6.0
_NOT_KNOWN = "not known"
_POWER_REMEDY = "use a stronger supply and a shorter cable"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; `remedy` is empty where all is well."""

    what: str
    found: str
    verdict: str
    remedy: str = ""


def check_device(root: Path = Path("/")) -> list[Finding]:
    """Check this machine, as one that measures. `root` holds sys and proc. Raises nothing."""
    environment = read_environment(root)
    return [
        _operating_system(),
        _runtime(environment),
        _governor(environment),
        _clock(environment, root),
        _temperature(environment),
        *_throttling(environment),
        _memory(),
        _disk(),
        _load(),
    ]


def check_meter(meter: Meter, sleep: Callable[[float], object] = time.sleep) -> list[Finding]:
    """Open a meter, listen to it and close it. Raises nothing."""
    try:
        with meter:
            return listen(meter, sleep)
    except ThronesError as error:
        return [_broken_meter(meter, error)]


def listen(meter: Meter, sleep: Callable[[float], object] = time.sleep) -> list[Finding]:
    """Check an open meter for at least LISTEN_S, with the device at rest. Raises nothing."""
    if meter.estimated:
        return [Finding("meter", f"{meter.url}: no instrument", DOUBTFUL, "energy will be an estimate")]
    try:
        listen_s = max(LISTEN_S, meter.shortest_window_s)
        start_s = time.monotonic()
        sleep(listen_s)
        power = meter.power(start_s, time.monotonic())
    except ThronesError as error:
        return [_broken_meter(meter, error)]
    idle = _judge(
        "idle power",
        f"{power.mean_w:.2f} W, at most {power.max_w:.2f} W",
        MIN_IDLE_W <= power.mean_w <= MAX_IDLE_W,
        f"a Pi at rest draws {MIN_IDLE_W:g} to {MAX_IDLE_W:g} W: is it this supply that feeds it?",
    )
    return [
        Finding("meter", f"{meter.url} talks", OK),
        Finding("reading rate", f"{power.readings / listen_s:.1f} readings a second", OK),
        idle,
    ]


def as_line(finding: Finding) -> str:
    """Return a finding as a line of a table."""
    text = f"{finding.verdict:<9} {finding.what:<17} {finding.found}"
    if finding.remedy:
        text += f": {finding.remedy}"
    return text


def _broken_meter(meter: Meter, error: ThronesError) -> Finding:
    return Finding("meter", error.message, WRONG, error.remedy or f"look at {meter.url}")


def _judge(what: str, found: str, is_good: bool, remedy: str, else_verdict: str = DOUBTFUL) -> Finding:
    if is_good:
        return Finding(what, found, OK)
    return Finding(what, found, else_verdict, remedy)


def _operating_system() -> Finding:
    is_wide = sys.maxsize > 2**32
    bits = 64 if is_wide else 32
    return _judge(
        "operating system",
        f"{bits}-bit {platform.machine()}, Python {platform.python_version()}",
        is_wide and sys.version_info >= (3, 10),
        "install the 64-bit Raspberry Pi OS (Bookworm or later): the runtime exists for nothing else",
        WRONG,
    )


def _runtime(environment: Environment) -> Finding:
    try:
        import_runtime()
    except EdgeError as error:
        return Finding("runtime", error.message, WRONG, "pip install thrones, in the agent's own venv")
    return Finding("runtime", environment.runtime, OK)


def _governor(environment: Environment) -> Finding:
    return _judge(
        "governor",
        environment.governor or _NOT_KNOWN,
        environment.governor in (None, "performance"),
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )


def _clock(environment: Environment, root: Path) -> Finding:
    try:
        max_khz = int((root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text())
    except (OSError, ValueError):
        return Finding("clock", _NOT_KNOWN, OK)
    max_mhz = max_khz / 1e3
    now_mhz = environment.clock_mhz or 0.0
    return _judge(
        "clock",
        f"{now_mhz:.0f} of {max_mhz:.0f} MHz",
        now_mhz >= 0.98 * max_mhz or environment.governor != "performance",
        "the firmware holds the clock down: look at temperature and supply",
    )


def _temperature(environment: Environment) -> Finding:
    now_c = environment.temperature_c
    if now_c is None:
        return Finding("temperature", _NOT_KNOWN, OK)
    found = f"{now_c:.1f} C"
    if now_c < WARM_C:
        return Finding("temperature", found, OK)
    verdict = DOUBTFUL if now_c < HOT_C else WRONG
    return Finding("temperature", found, verdict, "put a fan on it, or wait")


def _throttling(environment: Environment) -> list[Finding]:
    if environment.throttled is None:
        return [Finding("throttling", f"{_NOT_KNOWN} (no vcgencmd)", OK)]
    now = throttling_now(environment.throttled)
    before = [word for word in throttling_since_boot(environment.throttled) if word not in now]
    findings = [_throttled(word, "now", WRONG) for word in now]
    findings += [_throttled(word, "since the last start", DOUBTFUL) for word in before]
    return findings or [Finding("throttling", "none", OK)]


def _throttled(word: str, when: str, verdict: str) -> Finding:
    remedy = _POWER_REMEDY if word == "under-voltage" else "it is too hot: put a fan on it"
    return Finding(word, when, verdict, remedy)


def _memory() -> Finding:
    free_mb = psutil.virtual_memory().available / 1e6
    remedy = f"{MIN_MEMORY_MB} MB are needed: end programs"
    return _judge("free memory", f"{free_mb:.0f} MB", free_mb >= MIN_MEMORY_MB, remedy)


def _disk() -> Finding:
    free_mb = min(shutil.disk_usage(place).free for place in (tempfile.gettempdir(), Path.home())) / 1e6
    remedy = f"{MIN_DISK_MB} MB are needed: remove files"
    return _judge("free disk", f"{free_mb:.0f} MB", free_mb >= MIN_DISK_MB, remedy, WRONG)


def _load() -> Finding:
    busy_cores = psutil.cpu_percent(interval=0.5) / 100 * (os.cpu_count() or 1)
    remedy = "end them: they disturb every measurement"
    return _judge("other programs", f"{busy_cores:.1f} cores busy", busy_cores < MAX_BUSY_CORES, remedy)
