"""What `measure` prints: one model's figures beside their definitions, several models beside each other."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from string import ascii_uppercase

from edge.comparison import Entry
from edge.measuring.measurement import DEFINITIONS

_UNITS = {"ms": "ms", "w": "W", "mj": "mJ", "mb": "MB", "bytes": "bytes"}
_POWER_FIGURES = ("power_w", "max_power_w", "energy_mj", "idle_power_w", "net_energy_mj")
_ACCURACY = "Share of the given images whose largest output is their label."
_FOM = "accuracy in % / (latency_ms x energy_mj)."
_ONNX_INVOKE = "InferenceSession.run_with_iobinding(), input and output bound"
_COLUMN, _RATIO = 10, 8


def as_text(entry: Entry) -> str:
    """One model that was measured once: a line a figure, its definition beside it."""
    measurement = entry.rounds[0]
    environment, plan = measurement.environment, measurement.plan
    images = sum(window.images for window in measurement.windows)
    lines = [
        f"model    {measurement.sha256[:12]}, {measurement.model_bytes} bytes",
        f"device   {measurement.device} {environment.host} ({environment.cpu}, {environment.machine})",
        f"meter    {measurement.meter}",
        f"runtime  {environment.runtime}, delegate {environment.delegate or 'none'}, threads {plan.threads}",
        f"plan     {plan.name}: {len(measurement.windows)} windows, {images} images",
    ]
    if _is_onnx(entry):
        lines.append(f"invoke() {_ONNX_INVOKE}")
    if _is_onnx(entry) or not entry.assumed:
        lines.append(f"pixels   {_pixels(entry)}")
    lines.append("")
    for name in DEFINITIONS:
        value = entry.figure(name)
        shown = "not measured" if value is None else f"{_number(value)} {_UNITS.get(name.split('_')[-1], '')}".strip()
        mark = " (estimated)" if value is not None and measurement.estimated and name in _POWER_FIGURES else ""
        lines.append(f"{name:<17}{shown + mark:<22} {DEFINITIONS[name]}")
    accuracy = "not measured" if entry.accuracy_percent is None else f"{entry.accuracy_percent:.2f} %"
    return "\n".join([*lines, f"{'accuracy':<17}{accuracy:<22} {_ACCURACY}"])


def as_table(entries: Sequence[Entry], width: int) -> str:
    """Models beside each other in `width` columns, the ratio to the first beside each of the others."""
    letters = [_letter(position) for position in range(len(entries))]
    first = entries[0].rounds[0]
    rounds = len(entries[0].rounds)
    turns = f", {rounds} rounds, the models in turns; medians over the rounds" if rounds > 1 else ""
    head = [
        f"device  {first.device} {first.environment.host} ({first.environment.cpu}, {first.environment.machine})",
        f"meter   {first.meter}",
        f"plan    {first.plan.name}, threads {first.plan.threads}{turns}",
    ]
    for letter, entry in zip(letters, entries, strict=True):
        model, environment = entry.rounds[0], entry.rounds[0].environment
        head.append(
            f"{letter:<8}{entry.name}: sha256 {model.sha256[:12]}, {environment.runtime}, delegate "
            f"{environment.delegate or 'none'}, pixels {_pixels(entry)}"
        )
    lines = [line for text in head for line in textwrap.wrap(text, width, subsequent_indent=" " * 8)]

    rows = _rows(entries)
    labels = max(map(len, rows))
    others = max(1, (width - labels - _COLUMN) // (_COLUMN + _RATIO))
    for start in range(1, max(2, len(entries)), others):
        shown = range(start, min(start + others, len(entries)))
        heading = f"{'':<{labels}}{letters[0]:>{_COLUMN}}"
        heading += "".join(f"{letters[i]:>{_COLUMN}}{letters[i] + '/A':>{_RATIO}}" for i in shown)
        lines += ["", heading]
        for label, values in rows.items():
            cells = "".join(f"{_cell(values[i]):>{_COLUMN}}{_ratio(values[0], values[i]):>{_RATIO}}" for i in shown)
            lines.append(f"{label:<{labels}}{_cell(values[0]):>{_COLUMN}}{cells}")
    return "\n".join([*lines, "", *_meanings(entries, width)])


def as_json(entries: Sequence[Entry]) -> str:
    """All that was found, every window included, and what the figures mean."""
    if len(entries) == 1 and len(entries[0].rounds) == 1:
        content = {**_facts(entries[0]), "measurement": asdict(entries[0].rounds[0])}
    else:
        models = []
        for entry in entries:
            latencies = [each.latency_ms for each in entry.rounds]
            measurements = [asdict(each) for each in entry.rounds]
            ratios = {name: _over(entries[0].figure(name), entry.figure(name)) for name in DEFINITIONS}
            models.append(
                {**_facts(entry), "ratios": ratios, "latencies_ms": latencies, "measurements": measurements}
            )
        content = {"models": models}
    return json.dumps({**content, "definitions": DEFINITIONS}, indent=2, allow_nan=False)


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "model": entry.name,
        "accuracy_percent": entry.accuracy_percent,
        "fom": entry.fom,
        "pixels": entry.pixels,
        "pixels_tried": dict(entry.tried),
        "figures": {name: entry.figure(name) for name in DEFINITIONS},
    }


def _rows(entries: Sequence[Entry]) -> dict[str, list[float | None]]:
    """Every line of the comparison: its label, and the models' figures in order."""
    estimated = ", est." if entries[0].rounds[0].estimated else ""
    rows: dict[str, list[float | None]] = {
        "accuracy_percent": [entry.accuracy_percent for entry in entries],
        f"fom{estimated}": [entry.fom for entry in entries],
    }
    for name in DEFINITIONS:
        rows[name + (estimated if name in _POWER_FIGURES else "")] = [entry.figure(name) for entry in entries]
        if name == "latency_ms" and len(entries[0].rounds) > 1:
            for number in range(len(entries[0].rounds)):
                rows[f"  round {number + 1}"] = [entry.rounds[number].latency_ms for entry in entries]
    return {label: values for label, values in rows.items() if any(value is not None for value in values)}


def _meanings(entries: Sequence[Entry], width: int) -> list[str]:
    rows = _rows(entries)
    shown = [name for name in DEFINITIONS if any(label.split(",")[0] == name for label in rows)]
    texts = [f"{name}: {DEFINITIONS[name]}" for name in shown]
    if "accuracy_percent" in rows:
        texts.insert(0, f"accuracy_percent: {_ACCURACY}")
    if any(label.startswith("fom") for label in rows):
        texts.insert(1, f"fom: {_FOM}")
    if len(entries) > 1:
        texts.append("B/A: B's figure over A's, likewise for the others.")
    if any(_is_onnx(entry) for entry in entries):
        texts.append(f"invoke() of an ONNX model: {_ONNX_INVOKE}.")
    if entries[0].rounds[0].estimated:
        texts.append("est.: from an assumed power, not measured.")
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ")]


def _pixels(entry: Entry) -> str:
    if entry.tried:
        tried = ", ".join(f"{name} {percent:.1f}" for name, percent in entry.tried.items())
        return f"{entry.pixels}, the best: {tried} % of training images"
    return f"{entry.pixels}, assumed: no training images to find them on" if entry.assumed else entry.pixels


def _is_onnx(entry: Entry) -> bool:
    return entry.rounds[0].environment.runtime.startswith("onnxruntime")


def _letter(position: int) -> str:
    return ascii_uppercase[position] if position < len(ascii_uppercase) else f"#{position + 1}"


def _number(value: float) -> str:
    """Four digits, never in powers of ten."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"


def _cell(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _over(first: float | None, value: float | None) -> float | None:
    return None if not first or value is None else value / first


def _ratio(first: float | None, value: float | None) -> str:
    ratio = _over(first, value)
    return "-" if ratio is None else f"{ratio:.3g}"
