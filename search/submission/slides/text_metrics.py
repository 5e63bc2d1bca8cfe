"""Estimate the room that text takes without the font: by Arial's widths, with lines broken at blanks."""

import unicodedata
from collections.abc import Iterable

LINE = 1.2
"""Height of a line in units of the font size; Arial's is 1.15."""

_WIDTHS = {
    0.25: "'ijl|",
    0.28: " !,./:;I[\\]ft",
    0.35: '()-`r{}·"*',
    0.5: "Jcksvxyz",
    0.58: "+<=>~×≥≤",
    0.61: "FTZ",
    0.67: "&ABEKPSVXY",
    0.72: "CDHNRUw",
    0.8: "GOQMm",
    0.9: "%W",
    1.0: "@→",
}
_WIDTH = {character: width for width, characters in _WIDTHS.items() for character in characters}
_DIGIT, _WIDE, _BOLD = 0.56, 1.0, 1.08


def width_pt(text: str, size_pt: float, bold: bool = False) -> float:
    """Return the width of `text` on one line, in points."""
    width = sum(map(_width, text)) * size_pt
    return width * _BOLD if bold else width


def _width(character: str) -> float:
    """Return the width of a character in units of the font size."""
    if unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    return _WIDTH.get(character, _DIGIT)


def line_count(text: str, size_pt: float, room_pt: float, bold: bool = False) -> int:
    """Return how many lines `text` takes in `room_pt` points; a longer word is cut, as PowerPoint does."""
    return sum(_lines(part, size_pt, max(room_pt, size_pt), bold) for part in text.replace("\v", "\n").split("\n"))


def height_pt(texts: Iterable[str], size_pt: float, room_pt: float, gap_pt: float = 0.0, bold: bool = False) -> float:
    """Return the height of paragraphs one under the other, with `gap_pt` points after each."""
    return sum(line_count(text, size_pt, room_pt, bold) * size_pt * LINE + gap_pt for text in texts)


def _lines(text: str, size_pt: float, room_pt: float, bold: bool) -> int:
    blank = width_pt(" ", size_pt, bold)
    lines = 1
    used = 0.0
    for word in text.split():
        width = width_pt(word, size_pt, bold)
        if used and used + blank + width > room_pt:
            lines += 1
            used = 0.0
        used += blank + width if used else width
        while used > room_pt:
            lines += 1
            used -= room_pt
    return lines
