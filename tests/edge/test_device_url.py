"""The contract of the device that `--device URL` names: an emulated one (`make test-arm64`), or a real Raspberry Pi."""

import pytest
from contracts import DeviceContract

from edge.open_device import open_device


class TestDeviceByUrl(DeviceContract):
    @pytest.fixture(scope="class")
    def device(self, request):
        url = request.config.getoption("--device")
        if url is None:
            pytest.skip("needs a device: pytest tests/edge/test_device_url.py --device ssh://pi@raspberrypi.local")
        with open_device(url) as device:
            yield device
