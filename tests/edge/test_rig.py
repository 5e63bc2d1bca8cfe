"""What stands around a measurement: the environment, the meter, the URLs."""

import pytest

from edge.errors import UsageError
from edge.measuring.environment import read_environment, throttling_now
from edge.meters.meter import open_meter
from edge.meters.readings import Power
from edge.open_device import open_device


def test_throttle_words():
    assert throttling_now(None) == throttling_now("0x0") == throttling_now("0xf0000") == []
    assert throttling_now("0x8") == ["soft temperature limit"]


def test_environment_of_a_pi(tmp_path):
    for name, text in {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1400000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/class/thermal/thermal_zone0/temp": "51540\n",
        "sys/firmware/devicetree/base/model": "Raspberry Pi 3 Model B Plus Rev 1.3\0",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = read_environment(tmp_path)
    assert (found.clock_mhz, found.governor, found.temperature_c) == (1400.0, "performance", 51.54)
    assert found.cpu == "Raspberry Pi 3 Model B Plus Rev 1.3"
    assert found.os.startswith("Debian GNU/Linux 12")


def test_environment_of_a_machine_that_tells_nothing(tmp_path):
    found = read_environment(tmp_path)
    assert (found.clock_mhz, found.governor, found.temperature_c) == (None, None, None)
    assert found.cpu and found.os


def test_the_estimate_meter_says_so():
    with open_meter("estimate://4.8W") as meter:
        assert meter.estimated
        assert meter.url == "estimate://4.8W"
        assert meter.power(0.0, 1.0) == Power(4.8, 4.8, 0)
        assert meter.shortest_window_s == 0.0


@pytest.mark.parametrize(
    "url",
    [
        "estimate://0W",
        "estimate://abc",
        "estimate://nanW",
        "estimate://61W",
        "estimate://-1W",
        "estimate://4.8",
        "estimate://1e1W",
        "estimate://4.8W\n",
        "estimate:",
        "smartpower://x",
        "smartpower2:",
        "rapl://x",
        "replay://",
        "",
    ],
)
def test_a_bad_meter_url_gives_an_example(url):
    with pytest.raises(UsageError) as caught:
        open_meter(url)
    assert "estimate://4.8W" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "there are: local:, ssh://"),
        ("local", "there are: local:, ssh://"),
        ("local:x", "there are: local:, ssh://"),
        ("ssh://", "names no host"),
        ("rpyc://127.0.0.1:port", "no URL of a device"),
        ("rpyc://127.0.0.1:18861/path", "names no host"),
        ("rpyc://192.168.1.7", "not this machine; use ssh://"),
        ("rpyc://pi:18861?cert=/etc/hostname", "TLS needs cert, key and ca"),
        ("rpyc://pi?cert=a.pem&key=b&ca=c", "cert 'a.pem' is no file"),
        ("ssh://-oProxyCommand=x", "does not begin with -"),
        ("ssh://pi?agent=abc", "agent must be a port, 1..65535, got 'abc'"),
        ("ssh://pi?agent", "agent must be a port, 1..65535, got ''"),
        ("ssh://pi?agnet=3", "unknown option 'agnet'; known: agent, config"),
    ],
)
def test_a_bad_device_url_tells_what_is_wrong(url, words):
    with pytest.raises(UsageError) as caught:
        open_device(url)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
