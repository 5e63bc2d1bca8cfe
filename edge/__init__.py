"""What runs on the device: load a .tflite file, time it, weigh it, read the power meter.

Needs numpy and ai-edge-litert alone; the interpreter is imported on first use.
"""

from edge.devices.device import Device, open_device, open_rig
from edge.devices.local import LocalDevice
from edge.devices.pool import Pool, calibrate
from edge.errors import EdgeError, InfeasibleError, InvalidMeasurementError, UnavailableError, UsageError
from edge.measuring.environment import kind_of
from edge.measuring.measurement import DEFINITIONS, Attempt, Environment, Idle, Measurement, Window, merged
from edge.measuring.plan import PLANS, MeasurePlan, plan_for
from edge.meters.meter import EstimateMeter, Meter, open_meter
from edge.meters.readings import Power
from edge.runtime.tflite import (
    Operator,
    check_header,
    check_model,
    encode_images,
    operators,
    predict,
    read_operators,
)

__all__ = [
    "DEFINITIONS",
    "PLANS",
    "Attempt",
    "Device",
    "EdgeError",
    "Environment",
    "EstimateMeter",
    "Idle",
    "InfeasibleError",
    "InvalidMeasurementError",
    "LocalDevice",
    "MeasurePlan",
    "Measurement",
    "Meter",
    "Operator",
    "Pool",
    "Power",
    "UnavailableError",
    "UsageError",
    "Window",
    "calibrate",
    "check_header",
    "check_model",
    "encode_images",
    "kind_of",
    "merged",
    "open_device",
    "open_meter",
    "open_rig",
    "operators",
    "plan_for",
    "predict",
    "read_operators",
]
