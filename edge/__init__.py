"""Run and measure models on a device: time them, weigh them, read the power meter.

Import from the rooms: `edge.open_device` opens a device, `edge.measuring` has the records and the protocol,
`edge.meters` the power meters, `edge.errors` what can go wrong. Needs numpy and ai-edge-litert alone;
the interpreter is imported on first use.
"""
