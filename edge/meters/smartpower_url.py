"""Open a Smart Power by its URL."""

import re
from functools import partial
from urllib.parse import parse_qsl

from edge.errors import UsageError
from edge.meters.ports import BAUD, port_opener
from edge.meters.readings import ARRIVAL_JITTER_S, parse_smart_power_3
from edge.meters.smartpower import SmartPowerMeter


def open_smart_power(url: str) -> SmartPowerMeter:
    """Return the meter behind smartpower2://PORT or smartpower3://PORT[?channel=1&baud=921600], not yet opened.

    PORT is a path such as /dev/ttyUSB0, for the Smart Power 2 also HOST:PORT, or empty: found by its USB id when
    opened. Raises UsageError for anything else.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "smartpower2":
        name, open_port = port_opener(url, rest, BAUD)
        return SmartPowerMeter(url, name, open_port)
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    channel, baud = options.pop("channel", "0"), options.pop("baud", str(BAUD))
    if options or channel not in ("0", "1") or not re.fullmatch(r"[1-9]\d{3,6}", baud, flags=re.ASCII):
        raise UsageError(
            f"{url!r} may have ?channel=0 or 1 and &baud=BAUD",
            remedy="for example ?channel=1&baud=921600",
        )
    if place and not place.startswith("/"):
        raise UsageError(
            f"{url!r} must name a serial port",
            remedy="for example smartpower3:///dev/ttyUSB0",
        )
    name, open_port = port_opener(url, place, int(baud))
    parse = partial(parse_smart_power_3, channel=int(channel))
    # It averages over the time from line to line.
    return SmartPowerMeter(url, name, open_port, parse, span_s=lambda period_s: period_s + ARRIVAL_JITTER_S)
