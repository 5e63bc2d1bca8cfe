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
_COLUMN_WIDTH, _RATIO_WIDTH = 10, 8

Rows = dict[str, list[float | None]]
"""A label, and the figures of all models in order."""


def as_text(entry: Entry) -> str:
    """Return the lines of one model that was measured once: a figure and its definition in each."""
    measurement = entry.rounds[0]
    environment = measurement.environment
    plan = measurement.plan
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
    for name, definition in DEFINITIONS.items():
        lines.append(f"{name:<17}{_with_unit(entry, name):<22} {definition}")
    accuracy = "not measured"
    if entry.accuracy_percent is not None:
        accuracy = f"{entry.accuracy_percent:.2f} %"
    lines.append(f"{'accuracy':<17}{accuracy:<22} {_ACCURACY}")
    return "\n".join(lines)


def _with_unit(entry: Entry, name: str) -> str:
    value = entry.figure(name)
    if value is None:
        return "not measured"
    unit = _UNITS.get(name.split("_")[-1], "")
    text = f"{_number(value)} {unit}".strip()
    if entry.rounds[0].estimated and name in _POWER_FIGURES:
        text += " (estimated)"
    return text


def as_table(entries: Sequence[Entry], width: int) -> str:
    """Return models beside each other in `width` columns, with each one's ratio to the first."""
    letters = [_letter(position) for position in range(len(entries))]
    lines = _head(entries, letters, width)
    rows = _rows(entries)
    label_width = max(map(len, rows))
    others = max(1, (width - label_width - _COLUMN_WIDTH) // (_COLUMN_WIDTH + _RATIO_WIDTH))
    for start in range(1, max(2, len(entries)), others):
        shown = range(start, min(start + others, len(entries)))
        heading = f"{'':<{label_width}}{letters[0]:>{_COLUMN_WIDTH}}"
        for i in shown:
            heading += f"{letters[i]:>{_COLUMN_WIDTH}}{letters[i] + '/A':>{_RATIO_WIDTH}}"
        lines += ["", heading]
        for label, values in rows.items():
            line = f"{label:<{label_width}}{_cell(values[0]):>{_COLUMN_WIDTH}}"
            for i in shown:
                line += f"{_cell(values[i]):>{_COLUMN_WIDTH}}{_ratio(values[0], values[i]):>{_RATIO_WIDTH}}"
            lines.append(line)
    return "\n".join([*lines, "", *_meanings(entries, width)])


def _head(entries: Sequence[Entry], letters: Sequence[str], width: int) -> list[str]:
    first = entries[0].rounds[0]
    plan = f"plan    {first.plan.name}, threads {first.plan.threads}"
    rounds = len(entries[0].rounds)
    if rounds > 1:
        plan += f", {rounds} rounds, the models in turns; medians over the rounds"
    texts = [
        f"device  {first.device} {first.environment.host} ({first.environment.cpu}, {first.environment.machine})",
        f"meter   {first.meter}",
        plan,
    ]
    for letter, entry in zip(letters, entries, strict=True):
        environment = entry.rounds[0].environment
        texts.append(
            f"{letter:<8}{entry.name}: sha256 {entry.rounds[0].sha256[:12]}, {environment.runtime}, delegate "
            f"{environment.delegate or 'none'}, pixels {_pixels(entry)}"
        )
    return _wrap(texts, width, indent=8)


def as_json(entries: Sequence[Entry]) -> str:
    """Return all that was found, every window included, and the definitions."""
    content: dict[str, object]
    if len(entries) == 1 and len(entries[0].rounds) == 1:
        content = {**_facts(entries[0]), "measurement": asdict(entries[0].rounds[0])}
    else:
        content = {"models": [_compared(entry, entries[0]) for entry in entries]}
    return json.dumps({**content, "definitions": DEFINITIONS}, indent=2, allow_nan=False)


def _compared(entry: Entry, first: Entry) -> dict[str, object]:
    return {
        **_facts(entry),
        "ratios": {name: _quotient(first.figure(name), entry.figure(name)) for name in DEFINITIONS},
        "latencies_ms": [each.latency_ms for each in entry.rounds],
        "measurements": [asdict(each) for each in entry.rounds],
    }


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "model": entry.name,
        "accuracy_percent": entry.accuracy_percent,
        "fom": entry.fom,
        "pixels": entry.pixels,
        "pixels_tried": dict(entry.tried),
        "figures": {name: entry.figure(name) for name in DEFINITIONS},
    }


def _rows(entries: Sequence[Entry]) -> Rows:
    """Return the lines of the comparison, without those that no model has a figure for."""
    mark = ", est." if entries[0].rounds[0].estimated else ""
    rounds = len(entries[0].rounds)
    rows: Rows = {
        "accuracy_percent": [entry.accuracy_percent for entry in entries],
        f"fom{mark}": [entry.fom for entry in entries],
    }
    for name in DEFINITIONS:
        label = name + mark if name in _POWER_FIGURES else name
        rows[label] = [entry.figure(name) for entry in entries]
        if name == "latency_ms" and rounds > 1:
            for number in range(rounds):
                rows[f"  round {number + 1}"] = [entry.rounds[number].latency_ms for entry in entries]
    return {label: values for label, values in rows.items() if any(value is not None for value in values)}


def _meanings(entries: Sequence[Entry], width: int) -> list[str]:
    rows = _rows(entries)
    names = {label.split(",")[0] for label in rows}
    texts = []
    if "accuracy_percent" in names:
        texts.append(f"accuracy_percent: {_ACCURACY}")
    if "fom" in names:
        texts.append(f"fom: {_FOM}")
    texts += [f"{name}: {definition}" for name, definition in DEFINITIONS.items() if name in names]
    if len(entries) > 1:
        texts.append("B/A: B's figure over A's, likewise for the others.")
    if any(_is_onnx(entry) for entry in entries):
        texts.append(f"invoke() of an ONNX model: {_ONNX_INVOKE}.")
    if entries[0].rounds[0].estimated:
        texts.append("est.: from an assumed power, not measured.")
    return _wrap(texts, width, indent=2)


def _wrap(texts: Sequence[str], width: int, indent: int) -> list[str]:
    lines = []
    for text in texts:
        lines += textwrap.wrap(text, width, subsequent_indent=" " * indent)
    return lines


def _pixels(entry: Entry) -> str:
    if entry.tried:
        tried = ", ".join(f"{name} {percent:.1f}" for name, percent in entry.tried.items())
        return f"{entry.pixels}, the best: {tried} % of training images"
    if entry.assumed:
        return f"{entry.pixels}, assumed: no training images to find them on"
    return entry.pixels


def _is_onnx(entry: Entry) -> bool:
    return entry.rounds[0].environment.runtime.startswith("onnxruntime")


def _letter(position: int) -> str:
    if position < len(ascii_uppercase):
        return ascii_uppercase[position]
    return f"#{position + 1}"


def _number(value: float) -> str:
    """Return four digits, never in powers of ten."""
    if isinstance(value, int):
        return str(value)
    if abs(value) < 9999.5:
        return f"{value:.4g}"
    return f"{value:.0f}"


def _cell(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _quotient(first: float | None, value: float | None) -> float | None:
    if not first or value is None:
        return None
    return value / first


def _ratio(first: float | None, value: float | None) -> str:
    quotient = _quotient(first, value)
    return "-" if quotient is None else f"{quotient:.3g}"
