"""Which machine it really is: what a cloud calls "AMD EPYC" may have any of ten processors behind it."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge.measuring.environment import KIND, kind_of, read_environment
from edge.measuring.measurement import Environment

MILAN = """processor : 0
vendor_id : AuthenticAMD
cpu family : 25
model : 1
model name : AMD EPYC
stepping : 1
flags : fpu sse sse2 sse4_1 avx f16c fma avx2 erms
"""
GENOA = """processor : 0
vendor_id : AuthenticAMD
cpu family : 25
model : 17
model name : AMD EPYC
stepping : 1
flags : fpu sse sse2 sse4_1 avx f16c fma avx2 avx512f avx512bw avx512vl avx512_vnni
"""
PI_3 = """processor : 0
Features : fp asimd evtstrm crc32 cpuid
CPU implementer : 0x41
CPU architecture: 8
CPU variant : 0x0
CPU part : 0xd03
CPU revision : 4
"""


def machine(root: Path, cpuinfo: str, **files: str) -> Environment:
    """The environment of a machine with these files below its root."""
    for path, text in {"proc/cpuinfo": cpuinfo, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return read_environment(root)


def test_two_processors_of_one_name_are_two_kinds_of_board(tmp_path: Path) -> None:
    milan, genoa = machine(tmp_path / "one", MILAN), machine(tmp_path / "other", GENOA)
    assert milan.cpu == genoa.cpu == "AMD EPYC"
    assert kind_of(milan, "local:") != kind_of(genoa, "local:")
    assert milan.processor == "AuthenticAMD family 25 model 1 stepping 1"
    assert genoa.simd is not None and genoa.simd.endswith("avx2 avx512f avx512bw avx512vl avx512_vnni")


def test_an_arm_processor_is_named_by_its_part(tmp_path: Path) -> None:
    found = machine(tmp_path, PI_3)
    assert found.processor == "implementer 0x41 part 0xd03 variant 0x0 revision 4"
    assert found.simd == "asimd"


@pytest.mark.parametrize("other", [{"governor": "powersave"}, {"max_clock_mhz": 1200.0}, {"simd": "asimd asimddp"}])
def test_governor_clock_and_features_belong_to_the_kind(tmp_path: Path, other: dict[str, object]) -> None:
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq/"
    files = {cpufreq + "scaling_governor": "performance\n", cpufreq + "scaling_max_freq": "1400000\n"}
    found = machine(tmp_path, PI_3, **files, **{"proc/loadavg": "1.25 0.80 0.40 1/100 7\n"})
    assert (found.governor, found.max_clock_mhz, found.load) == ("performance", 1400.0, 1.25)
    assert kind_of(found, "ssh://pi@one") != kind_of(replace(found, **other), "ssh://pi@one")


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    found = machine(tmp_path, "nonsense\n\n: :\n", **{"proc/loadavg": "?"})
    assert [found.processor, found.simd, found.max_clock_mhz, found.load] == [None] * 4
    assert len(kind_of(found, "fake://one")) == len(KIND)
