"""Everything that can be wrong with a device or a meter, looked at one by one, each with a verdict and a remedy."""

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
LEAST_MEMORY_MB, LEAST_DISK_MB = 150, 300
WARM_C, HOT_C = 60.0, 80.0
"""The soft limit of a Pi 3B+, and where every Pi begins to throttle."""
PLAUSIBLE_IDLE_W = (1.0, 6.0)
"""A Pi 3B+ at rest draws 2.7 to 2.9 W, with a chatty logger 3.6 W; other boards a little less or more."""
LISTEN_S = 6.0
_POWER_REMEDY = "use a stronger supply and a shorter cable"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where all is well."""

    what: str
    found: str
    verdict: str
    remedy: str = ""


def check_device(root: Path = Path("/")) -> list[Finding]:
    """This machine, as one that measures. `root` holds sys and proc. Raises nothing."""
    environment = read_environment(root)
    return [
        _bits(),
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
    """A meter that is not open yet: opened, listened to, closed. Raises nothing."""
    try:
        with meter:
            return listen(meter, sleep)
    except ThronesError as error:
        return [Finding("meter", error.message, WRONG, error.remedy or f"look at {meter.url}")]


def listen(meter: Meter, sleep: Callable[[float], object] = time.sleep) -> list[Finding]:
    """An open meter over LISTEN_S at least, with the device at rest. Raises nothing."""
    if meter.estimated:
        return [Finding("meter", f"{meter.url}: no instrument", DOUBTFUL, "energy will be an estimate")]
    try:
        listen_s = max(LISTEN_S, meter.shortest_window_s)
        start_s = time.monotonic()
        sleep(listen_s)
        power = meter.power(start_s, time.monotonic())
    except ThronesError as error:
        return [Finding("meter", error.message, WRONG, error.remedy or f"look at {meter.url}")]
    low_w, high_w = PLAUSIBLE_IDLE_W
    plausible = low_w <= power.mean_w <= high_w
    return [
        Finding("meter", f"{meter.url} talks", OK),
        Finding("reading rate", f"{power.readings / listen_s:.1f} readings a second", OK),
        Finding(
            "idle power",
            f"{power.mean_w:.2f} W, at most {power.max_w:.2f} W",
            OK if plausible else DOUBTFUL,
            "" if plausible else f"a Pi at rest draws {low_w:g} to {high_w:g} W: is it this supply that feeds it?",
        ),
    ]


def as_line(finding: Finding) -> str:
    """Return a finding as a line of a table."""
    remedy = f": {finding.remedy}" if finding.remedy else ""
    return f"{finding.verdict:<9} {finding.what:<17} {finding.found}{remedy}"


def _judge(what: str, found: str, good: bool, remedy: str, else_verdict: str = DOUBTFUL) -> Finding:
    return Finding(what, found, OK) if good else Finding(what, found, else_verdict, remedy)


def _bits() -> Finding:
    wide = sys.maxsize > 2**32
    return _judge(
        "operating system",
        f"{64 if wide else 32}-bit {platform.machine()}, Python {platform.python_version()}",
        wide and sys.version_info >= (3, 10),
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
        environment.governor or "not told",
        environment.governor in (None, "performance"),
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )


def _clock(environment: Environment, root: Path) -> Finding:
    try:
        top_mhz = int((root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text()) / 1e3
    except (OSError, ValueError):
        return Finding("clock", "not told", OK)
    now_mhz = environment.clock_mhz or 0.0
    return _judge(
        "clock",
        f"{now_mhz:.0f} of {top_mhz:.0f} MHz",
        now_mhz >= 0.98 * top_mhz or environment.governor != "performance",
        "the firmware holds the clock down: look at temperature and supply",
    )


def _temperature(environment: Environment) -> Finding:
    now_c = environment.temperature_c
    if now_c is None:
        return Finding("temperature", "not told", OK)
    verdict = OK if now_c < WARM_C else DOUBTFUL if now_c < HOT_C else WRONG
    return Finding("temperature", f"{now_c:.1f} C", verdict, "" if verdict == OK else "put a fan on it, or wait")


def _throttling(environment: Environment) -> list[Finding]:
    if environment.throttled is None:
        return [Finding("throttling", "not told (no vcgencmd)", OK)]
    now = throttling_now(environment.throttled)
    before = [word for word in throttling_since_boot(environment.throttled) if word not in now]
    findings = [
        Finding(word, when, verdict, _POWER_REMEDY if word == "under-voltage" else "it is too hot: put a fan on it")
        for words, when, verdict in ((now, "now", WRONG), (before, "since the last start", DOUBTFUL))
        for word in words
    ]
    return findings or [Finding("throttling", "none", OK)]


def _memory() -> Finding:
    free_mb = psutil.virtual_memory().available / 1e6
    return _judge(
        "free memory", f"{free_mb:.0f} MB", free_mb >= LEAST_MEMORY_MB, f"{LEAST_MEMORY_MB} MB are needed: end programs"
    )


def _disk() -> Finding:
    free_mb = min(shutil.disk_usage(place).free for place in (tempfile.gettempdir(), Path.home())) / 1e6
    remedy = f"{LEAST_DISK_MB} MB are needed: remove files"
    return _judge("free disk", f"{free_mb:.0f} MB", free_mb >= LEAST_DISK_MB, remedy, WRONG)


def _load() -> Finding:
    busy = psutil.cpu_percent(interval=0.5) / 100 * (os.cpu_count() or 1)
    return _judge("other programs", f"{busy:.1f} cores busy", busy < 0.3, "end them: they are in every measurement")
