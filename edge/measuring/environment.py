"""Read where a measurement is taken: machine, runtime, clock, temperature, throttling."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from edge.measuring.measurement import Environment
from edge.runtime.tflite import runtime_name

# Meaning of the low bits of `vcgencmd get_throttled`; bits 16-19 say the same of the time since boot.
_THROTTLE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}

KIND = ("cpu", "machine", "cores", "governor", "runtime", "delegate", "processor", "simd", "max_clock_mhz")
"""Machines must have these in common for their measurements to be compared."""

SIMD = (
    *("sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "fphp", "asimddp", "asimdfhm", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""The processor features by which XNNPACK chooses its kernels (cpuinfo's names for x86 and ARM)."""
_X86_ID = {"vendor_id": "", "cpu family": "family ", "model": "model ", "stepping": "stepping "}
_ARM_ID = {
    "CPU implementer": "implementer ",
    "CPU part": "part ",
    "CPU variant": "variant ",
    "CPU revision": "revision ",
}


def read_environment(root: Path = Path("/")) -> Environment:
    """Return the state of this machine; None for what it does not say. `root` holds proc, sys, etc. Raises nothing."""
    cpufreq = root / "sys/devices/system/cpu/cpu0/cpufreq"
    clock_khz = _read_number(cpufreq / "scaling_cur_freq")
    max_clock_khz = _read_number(cpufreq / "scaling_max_freq")
    processor, simd = _processor(root)
    millidegrees = _read_number(root / "sys/class/thermal/thermal_zone0/temp")
    return Environment(
        host=platform.node(),
        machine=platform.machine(),
        cpu=_cpu_model(root),
        cores=os.cpu_count() or 1,
        os=_os_name(root),
        python=platform.python_version(),
        runtime=runtime_name(),
        delegate="XNNPACK",
        governor=_read_text(cpufreq / "scaling_governor"),
        clock_mhz=_thousandth(clock_khz),
        temperature_c=_thousandth(millidegrees),
        throttled=_read_throttled(),
        processor=processor,
        simd=simd,
        max_clock_mhz=_thousandth(max_clock_khz),
        load=_read_load(root),
    )


def kind_of(environment: Environment, url: str) -> dict[str, str | int | float | None]:
    """Return what a measurement depends on besides model and plan; for this host with its name."""
    kind = {name: getattr(environment, name) for name in KIND}
    if url == "local:":
        kind["host"] = environment.host
    return kind


def throttling_now(throttled: str | None) -> list[str]:
    """Return what holds the processor back now, from the firmware's word ("0x50005"); [] for nothing."""
    flags = int(throttled or "0", 16)
    return [meaning for bit, meaning in _THROTTLE_BITS.items() if flags >> bit & 1]


def throttling_between(before: str | None, after: str | None) -> list[str]:
    """Return what held the processor back for the first time since the last start, between two of these words."""
    known = throttling_since_boot(before)
    return [word for word in throttling_since_boot(after) if word not in known]


def throttling_since_boot(throttled: str | None) -> list[str]:
    """Return what held the processor back since the last start, from the same word."""
    return throttling_now(hex(int(throttled or "0", 16) >> 16))


def _cpu_model(root: Path) -> str:
    # ARM kernels name the board under "Model" and give no "model name".
    board = _read_text(root / "sys/firmware/devicetree/base/model")
    if board is not None:
        return board
    for line in (_read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _processor(root: Path) -> tuple[str | None, str | None]:
    """Return family, model and stepping, and its features of SIMD: a cloud's "model name" hides what it really is."""
    about: dict[str, str] = {}
    for line in (_read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        about.setdefault(key.strip(), value.strip())
    names = _X86_ID
    if "CPU part" in about:
        names = _ARM_ID
    found = [word + about[key] for key, word in names.items() if key in about]
    features = (about.get("flags") or about.get("Features") or "").split()
    return " ".join(found) or None, " ".join(name for name in SIMD if name in features) or None


def _read_load(root: Path) -> float | None:
    words = (_read_text(root / "proc/loadavg") or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


def _os_name(root: Path) -> str:
    for line in (_read_text(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"') + f", {platform.system()} {platform.release()}"
    return f"{platform.system()} {platform.release()}"


def _read_throttled() -> str | None:
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        text = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        word = text.strip().partition("=")[2]
        int(word, 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return word


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1e3


def _read_text(path: Path) -> str | None:
    try:
        # The device tree's strings end with a NUL.
        return path.read_text(encoding="utf-8", errors="replace").strip().rstrip("\0") or None
    except OSError:
        return None


def _read_number(path: Path) -> float | None:
    try:
        return float(_read_text(path) or "")
    except ValueError:
        return None
