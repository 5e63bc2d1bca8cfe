"""Where the checkout and its folders are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
RESULTS = STUDIES / "results"
