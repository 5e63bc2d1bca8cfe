"""Open what can measure a model: a device by its URL, or several, together with a power meter."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from edge.devices.device import Device
from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice
from edge.devices.pool import Pool
from edge.errors import UsageError
from edge.measuring.status import DeviceStatus, ignore
from edge.meters.meter import Meter, open_meter

ON_DEVICE = "device:"
"""In place of a meter's URL: the meter that is connected to the device itself and that its agent has opened."""


def open_device(
    url: str,
    meter: Meter | None = None,
    on_status: Callable[[DeviceStatus], object] = ignore,
    patient: bool = True,
) -> Device:
    """Return the device behind a URL, to be used in a `with`.

    `meter` is the caller's to close; None means the one that is connected to a remote device, if any.
    `on_status` hears what the device is doing meanwhile. `patient`: try a lost one again for a minute.
    Raises UsageError for a URL that names no device.
    """
    if url == "local:":
        return LocalDevice(meter, on_status=on_status)
    if url.startswith("fake://"):
        return FakeDevice(url, meter, on_status=on_status)
    if url.startswith(("rpyc://", "ssh://")):
        from edge.remote.client import RemoteDevice  # here, because rpyc takes long to load
        from edge.remote.connect import connector
        from edge.remote.connection import FIRST_CONTACT_S, RETRY_S

        retry_s = RETRY_S if patient else FIRST_CONTACT_S
        return RemoteDevice(url, connector(url), meter, on_status, retry_s)
    raise UsageError(
        f"no device {url!r}",
        remedy=(
            "there are: local:, ssh://pi@raspberrypi.local, rpyc://127.0.0.1:18861, fake://NAME"
        ),
    )


@contextmanager
def open_test_bench(
    device_urls: Sequence[str] | str, meter_url: str, on_status: Callable[[DeviceStatus], object] = ignore
) -> Iterator[Device]:
    """Open the device, or the pool of several, with its meter: one of this host, or ON_DEVICE.

    Raises UsageError for a URL that names nothing or is named twice, for one meter with several devices and for devices
    of different kinds, UnavailableError when device or meter do not answer.
    """
    urls = [device_urls] if isinstance(device_urls, str) else list(device_urls)
    if not urls:
        raise UsageError("no device is named", remedy="for example ssh://pi@raspberrypi.local")
    for url in urls:
        if urls.count(url) > 1:
            raise UsageError(
                f"{url} is named twice",
                remedy="name each device once",
            )
    if len(urls) > 1 and meter_url != ON_DEVICE and not meter_url.startswith("estimate://"):
        raise UsageError(
            f"{meter_url} is connected to one of the {len(urls)} devices",
            remedy=f"use {ON_DEVICE}, each device's own",
        )
    is_pool = len(urls) > 1
    with ExitStack() as stack:
        meter = None
        if meter_url != ON_DEVICE:
            meter = stack.enter_context(open_meter(meter_url))
        devices = [open_device(url, meter, on_status, patient=not is_pool) for url in urls]
        if is_pool:
            yield stack.enter_context(Pool(devices, on_status))
        else:
            yield stack.enter_context(devices[0])
