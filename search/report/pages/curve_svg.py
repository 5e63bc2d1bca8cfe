"""A learning curve as SVG, for a page without scripts."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from search.report.formatting import pluralize
from search.report.pages.html import soft_html

WIDTH = 560
HEIGHT = 180
LEFT = 60
RIGHT = 10
MARGIN = 10
MIN_LABEL_GAP = 14
"""Labels that are nearer to each other than this would overlap."""


class Scale(NamedTuple):
    """The accuracies in percent at the bottom and at the top of the drawing."""

    lowest: float
    highest: float

    def y(self, percent: float) -> float:
        """Return the place of an accuracy, from the top."""
        share = (self.highest - percent) / (self.highest - self.lowest)
        return MARGIN + (HEIGHT - 2 * MARGIN) * share


def curve_html(curve: Sequence[float], required_percent: float) -> str:
    """Return the validation accuracy in percent after each epoch, and the required one as a line.

    Return "" for a trial that was not trained.
    """
    if not curve:
        return ""
    scale = Scale(min(*curve, required_percent) - 1, max(*curve, required_percent) + 1)
    required = f"{scale.y(required_percent):.1f}"
    step = (WIDTH - LEFT - RIGHT) / max(1, len(curve) - 1)
    corners = []
    dots = []
    for epoch, accuracy in enumerate(curve, 1):
        x, y = LEFT + step * (epoch - 1), scale.y(accuracy)
        corners.append(f"{x:.1f},{y:.1f}")
        title = f"<title>epoch {epoch}: {accuracy:.2f} %</title>"
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>')
    labels = [_label(scale, curve[-1])]
    if abs(scale.y(curve[-1]) - scale.y(required_percent)) >= MIN_LABEL_GAP:
        labels.append(_label(scale, required_percent))
    accuracies = ", ".join(f"{accuracy:.2f}" for accuracy in curve)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="validation accuracy by epoch">'
        f'<line class="required" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{required}" y2="{required}"/>'
        f'<polyline points="{" ".join(corners)}"/>{"".join(dots)}{"".join(labels)}</svg>'
        + soft_html(
            f"Validation accuracy after each of {pluralize(len(curve), 'epoch')}: {accuracies} %. "
            "Dashed: the accuracy that the search requires."
        )
    )


def _label(scale: Scale, percent: float) -> str:
    return f'<text x="4" y="{scale.y(percent) + 4:.1f}">{escape(f"{percent:.1f} %")}</text>'
