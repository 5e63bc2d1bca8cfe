"""Tables as HTML."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def table_html(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[int] = (),
    kind: str = "",
    links: Mapping[str, str] | None = None,
) -> str:
    """A table whose cells are text; the columns numbered in `right` stand to the right.

    links: a row's first cell, where it is one of these, leads to that address.
    """
    sides = dict.fromkeys(right, ' class="number"')
    head = "".join(f"<th{sides.get(n, '')}>{escape(column)}</th>" for n, column in enumerate(columns))

    def shown(number: int, cell: str) -> str:
        text = escape(cell)
        return f'<a href="{escape(links[cell])}">{text}</a>' if links and number == 0 and cell in links else text

    body = "\n".join(
        "<tr>" + "".join(f"<td{sides.get(n, '')}>{shown(n, cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if columns else ""
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'
