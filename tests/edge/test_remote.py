"""A device behind a wire keeps the same contract: on loopback, through SSH, over TLS; and it survives faults."""

import math
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from agents import SSHD, Proxy, SshServer, agent, free_port
from contracts import QUICK, DeviceContract, make_images
from models import float_model, int8_model

from edge.__main__ import main
from edge.errors import ModelError, UnavailableError, UsageError
from edge.measuring.plan import MeasurePlan
from edge.open_device import ON_DEVICE, open_device, open_test_bench
from edge.remote.client import RemoteDevice
from edge.remote.connect import connector
from edge.runtime.tflite import predict

LONG = MeasurePlan("long", warmup_s=0.0, windows=3, window_s=1.0, max_spread=1e6)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with agent(tmp_path_factory.mktemp("agent")) as process:
        yield process


class TestLoopback(DeviceContract):
    @pytest.fixture
    def device(self, running):
        with open_device(running.url) as device:
            yield device


@pytest.mark.skipif(SSHD is None, reason="needs an SSH server: apt-get install openssh-server")
@pytest.mark.slow
class TestSsh(DeviceContract):
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory):
        server = SshServer(tmp_path_factory.mktemp("ssh"))
        yield server
        server.stop()

    @pytest.fixture(scope="class")
    def url(self, server, running):
        return f"ssh://127.0.0.1:{server.port}?agent={running.port}&config={server.config}"

    @pytest.fixture(scope="class")
    def opened(self, url):
        with open_device(url) as device:
            yield device

    @pytest.fixture
    def device(self, opened):
        return opened

    def test_a_restarted_server_costs_no_measurement(self, server, opened, running):
        def restart():
            wait_until(lambda: children(running))
            server.stop()
            server.start()

        assert_measures(opened, meanwhile=restart)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, which makes the certificates")
@pytest.mark.slow
class TestTls(DeviceContract):
    @pytest.fixture(scope="class")
    def url(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tls")
        make_certificates(folder)
        options = (f"--cert={folder}/agent.cert", f"--key={folder}/agent.key", f"--ca={folder}/ca.cert")
        with agent(folder, *options) as process:
            yield f"{process.url}?cert={folder}/host.cert&key={folder}/host.key&ca={folder}/ca.cert"

    @pytest.fixture
    def device(self, url):
        with open_device(url) as device:
            yield device

    def test_who_has_no_certificate_stays_outside(self, url):
        plain = url.partition("?")[0]
        with pytest.raises(UnavailableError, match="does not answer"):
            with RemoteDevice(plain, connector(plain), first_contact_s=0.3):
                pass


def make_certificates(folder):
    """ca.cert signs agent.cert, which is for 127.0.0.1, and host.cert."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.cert", "-subj", "/CN=test")
    for name in ("agent", "host"):
        signed_by = ("-CA", "ca.cert", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.cert")
        openssl("req", "-x509", *key, *signed_by, *files, "-subj", f"/CN={name}")


def wait_until(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def assert_measures(device, meanwhile, plan=LONG):
    """A measurement goes on while something happens beside it; how many attempts the agent made of it."""
    with ThreadPoolExecutor() as pool:
        beside = pool.submit(meanwhile)
        measurement = device.measure(float_model(), plan, make_images(5))
        beside.result()
    assert len(measurement.windows) >= plan.windows
    assert measurement.rejected == ()


def children(process):
    return [child for child in psutil.Process(process.process.pid).children() if alive(child)]


def alive(child):
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "edge.devices.measuring_child" in child.cmdline()
    except psutil.NoSuchProcess:  # a zombie's error is one, too
        return False


def test_the_idle_agent_is_small(running):
    assert psutil.Process(running.process.pid).memory_info().rss <= 80e6


def test_it_greets_with_version_and_port(running):
    assert running.greeting.startswith("thrones agent ")
    assert running.greeting.endswith(f"listens on 127.0.0.1 port {running.port}\n")


def test_nothing_listens_there(tmp_path):
    url = f"rpyc://127.0.0.1:{free_port()}"
    with pytest.raises(UnavailableError, match=r"does not answer \(.*refused\); is it on"):
        with RemoteDevice(url, connector(url), first_contact_s=0.3):
            pass


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--cert", "a"], ["--meter", "smart://x"]])
def test_bad_options_of_serve_are_one_line(tmp_path, options, capsys):
    assert main(["serve", *options, "--store", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("edge: ")
    assert len(errors.splitlines()) == 1


def test_a_port_in_use_is_one_line(running, tmp_path, capsys):
    assert main(["serve", "--port", str(running.port), "--store", str(tmp_path)]) == 1
    assert "is another agent running? choose another --port" in capsys.readouterr().err


def test_another_protocol_is_refused_at_once(running, monkeypatch):
    monkeypatch.setattr("edge.remote.client.PROTOCOL", 99)
    with pytest.raises(UsageError, match="speaks protocol 3, this host 99; install the same version on both"):
        with open_device(running.url):
            pass


@pytest.mark.slow
def test_an_agent_killed_while_it_measures_costs_only_time(tmp_path):
    with agent(tmp_path) as process, open_device(process.url) as device:

        def kill():
            wait_until(lambda: children(process))
            (child,) = children(process)
            process.kill()
            wait_until(lambda: not alive(child))  # it does not outlive the agent
            process.start()

        assert_measures(device, meanwhile=kill)


@pytest.mark.slow
def test_an_agent_killed_while_it_is_sent_a_file_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.remote.connection.PIECE_BYTES", 1000)
    images = make_images(5)
    with agent(tmp_path) as process, open_device(process.url) as device:
        sent = []
        real = device.connection.call

        def call(method, *arguments):
            if method == "append":
                sent.append(arguments[1])
                if len(sent) == 4:
                    process.kill()
                    process.start()
            return real(method, *arguments)

        monkeypatch.setattr(device.connection, "call", call)
        labels = device.predict(int8_model(), images)
    np.testing.assert_array_equal(labels, predict(int8_model(), images))
    sizes = (len(int8_model()), images.nbytes + 128)  # an .npy has a head of 128 bytes
    assert len(sent) == sum(math.ceil(size / 1000) for size in sizes)  # no piece was sent twice


@pytest.mark.slow
def test_a_line_that_is_cut_for_a_while_costs_only_time(running):
    proxy = Proxy(running.port)
    url = f"rpyc://127.0.0.1:{proxy.port}"
    with open_device(url) as device:

        def cut():
            wait_until(lambda: children(running))
            proxy.cut()
            wait_until(lambda: not children(running))  # the measurement ends while nobody can ask for it
            proxy.hang_up()
            proxy.mend()

        assert_measures(device, meanwhile=cut)
    proxy.close()


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_agent_lives_on(tmp_path):
    with agent(tmp_path) as process, open_device(process.url) as device:
        psutil.Process(process.process.pid).rlimit(psutil.RLIMIT_FSIZE, (4000, -1))
        with pytest.raises(UnavailableError, match="cannot store .*free space there"):
            device.predict(float_model(), make_images(50))
        psutil.Process(process.process.pid).rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
        assert len(device.predict(float_model(), make_images(50))) == 50


@pytest.mark.slow
def test_two_hosts_measure_one_after_the_other(running):
    found = []

    def measure():
        with open_device(running.url) as device:
            found.append(device.measure(float_model(), LONG, make_images(3)))

    hosts = [threading.Thread(target=measure) for _ in range(2)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    first, second = sorted(found, key=lambda measurement: measurement.windows[0].start_s)
    assert first.windows[-1].end_s < second.windows[0].start_s


@pytest.mark.slow
def test_a_model_that_crashes_the_interpreter_is_infeasible_and_the_next_one_runs(running):
    damaged = bytearray(int8_model())
    damaged[3658] ^= 0x10
    with open_device(running.url) as device:
        with pytest.raises(ModelError):
            device.measure(bytes(damaged), QUICK, make_images(2))
        device.measure(float_model(), QUICK, make_images(2))


@pytest.mark.slow
def test_ctrl_c_on_the_host_frees_the_device(running, monkeypatch):
    with open_device(running.url) as device:
        real = device.connection.call

        def interrupted(method, *arguments):
            if method == "poll" and children(running):
                raise KeyboardInterrupt
            return real(method, *(arguments if method != "poll" else (arguments[0], 0.01)))

        monkeypatch.setattr(device.connection, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            device.measure(float_model(), MeasurePlan("endless", 0.0, 100, 60.0), make_images(2))
    wait_until(lambda: not children(running))


def test_the_clocks_are_compared_to_the_millisecond(running):
    with open_device(running.url) as device:
        ahead_s, uncertain_s = device.connection.clock_ahead()
    assert abs(ahead_s) <= uncertain_s < 0.01  # it is the same clock


@pytest.mark.slow
def test_the_hosts_meter_goes_before_the_devices_own(tmp_path):
    with agent(tmp_path, "--meter=estimate://5W") as process:
        with open_test_bench(process.url, ON_DEVICE) as device:
            own = device.measure(float_model(), QUICK, make_images(2))
        with open_test_bench(process.url, "estimate://3W") as device:
            hosts = device.measure(float_model(), QUICK, make_images(2))
    assert (own.meter, own.power_w, own.estimated) == ("estimate://5W", 5.0, True)
    assert (hosts.meter, hosts.power_w) == ("estimate://3W", 3.0)
