"""Parts of a page as HTML."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape


def table_html(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[int] = (),
    kind: str = "",
    links: Mapping[str, str] | None = None,
) -> str:
    """Return a table whose cells are text.

    Args:
        columns: The headings; a table without them has rows alone.
        rows: The cells.
        right: The columns that are aligned to the right.
        kind: The class in the page's style sheet.
        links: By the text of a row's first cell, the address to which it leads.
    """
    head = ""
    if columns:
        head = f"<thead>{_row_html('th', columns, right)}</thead>"
    body = "\n".join(_row_html("td", row, right, links or {}) for row in rows)
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def facts_html(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of names and values."""
    return table_html((), rows, kind="facts")


def soft_html(text: str) -> str:
    """Return a paragraph that explains something else."""
    return f'<p class="soft">{escape(text)}</p>'


def _row_html(
    tag: str, cells: Sequence[str], right: Collection[int], links: Mapping[str, str] | None = None
) -> str:
    """Return a row.

    Args:
        tag: "th" for headings, "td" for other cells.
        cells: The texts.
        right: The columns that are aligned to the right.
        links: As for `table_html`.
    """
    parts = ["<tr>"]
    for column, cell in enumerate(cells):
        text = escape(cell)
        if links and column == 0 and cell in links:
            text = f'<a href="{escape(links[cell])}">{text}</a>'
        kind = ""
        if column in right:
            kind = ' class="number"'
        parts.append(f"<{tag}{kind}>{text}</{tag}>")
    return "".join([*parts, "</tr>"])
