"""How much room text takes, estimated without a font at hand: Arial's widths, lines broken at blanks."""

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
    """The width of `text` on one line, in points."""
    wide = sum(_WIDTH.get(c, _WIDE if unicodedata.east_asian_width(c) in "WF" else _DIGIT) for c in text)
    return wide * size_pt * (_BOLD if bold else 1.0)


def line_count(text: str, size_pt: float, room_pt: float, bold: bool = False) -> int:
    """Into how many lines `text` breaks where `room_pt` points are there; a longer word is cut, as PowerPoint does."""
    return sum(_lines(part, size_pt, max(room_pt, size_pt), bold) for part in text.replace("\v", "\n").split("\n"))


def height_pt(texts: Iterable[str], size_pt: float, room_pt: float, gap_pt: float = 0.0, bold: bool = False) -> float:
    """The height of paragraphs one under the other, `gap_pt` points after each."""
    return sum(line_count(text, size_pt, room_pt, bold) * size_pt * LINE + gap_pt for text in texts)


def _lines(text: str, size_pt: float, room_pt: float, bold: bool) -> int:
    lines, used, blank = 1, 0.0, width_pt(" ", size_pt, bold)
    for word in text.split():
        wide = width_pt(word, size_pt, bold)
        if used and used + blank + wide > room_pt:
            lines, used = lines + 1, 0.0
        used += (blank if used else 0.0) + wide
        while used > room_pt:
            lines, used = lines + 1, used - room_pt
    return lines
