"""Power meters: what they send (`readings`), how they are opened (`meter`), one to try a set-up with (`simulator`)."""

from edge.meters.meter import EstimateMeter, Meter, open_meter
from edge.meters.readings import Power

__all__ = ["EstimateMeter", "Meter", "Power", "open_meter"]
