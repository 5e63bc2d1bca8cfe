"""Numbers as the terminal and the page show them."""

import pytest

from search.report import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (9.996, "10.0"), (97_912.0, "97,900"), (4.8, "4.80"), (0, "0"), (None, "–")],
)
def test_significant(value: float | None, text: str) -> None:
    assert formatting.significant(value) == text
