"""The pages and tables of a report, taken apart."""

from html.parser import HTMLParser

from rich.console import Console
from rich.table import Table


class Page(HTMLParser):
    """The page as a browser sees it: tags with attributes, text by table, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data
        elif self.tags and self.tags[-1][0] in ("td", "th", "a") and data.strip():
            self.tables[-1][-1][-1] += data


def cells(table: Table) -> list[tuple[str, ...]]:
    """Return the rows of a table for the terminal, without its headings."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return list(zip(*columns, strict=True))


def printed(table: Table) -> str:
    """Return a table as the terminal shows it."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
