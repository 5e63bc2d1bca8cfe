"""What runs on the device: load a .tflite file, time it, weigh it, read the power meter.

Needs numpy and ai-edge-litert alone; the interpreter is imported on first use.
"""

from edge.device import Device, open_device, open_rig
from edge.environment import kind_of
from edge.errors import EdgeError, InfeasibleError, InvalidMeasurementError, UnavailableError, UsageError
from edge.interpreter import (
    Operator,
    check_header,
    check_model,
    encode_images,
    operators,
    predict,
    read_operators,
)
from edge.local import LocalDevice
from edge.measurement import DEFINITIONS, Attempt, Environment, Idle, Measurement, Window, merged
from edge.meters.meter import EstimateMeter, Meter, open_meter
from edge.meters.readings import Power
from edge.plan import PLANS, MeasurePlan, plan_for
from edge.pool import Pool, calibrate

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
