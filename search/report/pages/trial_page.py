"""Pages of single trials beside the report, for those worth reading: small, without scripts."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from optuna.trial import TrialState

from compress.io import atomic_write
from search.evaluation import EndReason
from search.report.pages import trial_parts
from search.report.pages.curve_svg import curve_html
from search.report.results import Figures, StudyResults, TrialResult, first_trained
from search.report.sentences import STATES

FOLDER = "trials"
MAX_FRONT_PAGES = 12
MAX_FINAL_TRAINING_PAGES = 10
MAX_FAILED_PAGES = 5
"""The number of pages: of the front those nearest to the constraint, of the others the newest."""


def trials_with_page(results: StudyResults) -> dict[int, str]:
    """Return the trials that have a page, and why."""
    reasons: dict[int, list[str]] = {}
    if results.best_trial is not None:
        reasons[results.best_trial] = ["the best candidate"]
    for number in _nearest_on_front(results):
        reasons.setdefault(number, []).append("on the front of accuracy and latency")
    final_trainings = [trial.number for trial in results.trials if trial.refined_from is not None]
    for number in final_trainings[-MAX_FINAL_TRAINING_PAGES:]:
        reasons.setdefault(number, []).append("a final training")
    failed = [trial.number for trial in results.trials if _has_failed(trial)]
    for number in failed[-MAX_FAILED_PAGES:]:
        reasons.setdefault(number, []).append("among the last that failed")
    return {number: ", ".join(reasons[number]) for number in sorted(reasons)}


def write_trial_pages(results: StudyResults, folder: Path) -> dict[str, str]:
    """Write `trials/<number>.html` for each of `trials_with_page`; return the addresses by number.

    Each page is written at once. Pages of earlier reports stay until `remove_stale_pages` removes
    them.
    """
    reasons = trials_with_page(results)
    trained = first_trained(results.trials)
    beside = {f"trial {number}": f"{number}.html" for number in reasons}
    template = Template(Path(__file__).with_name("trial.html").read_text(encoding="utf-8"))
    links = {}
    for trial in results.trials:
        if trial.number not in reasons:
            continue
        parent_chain = trial_parts.parent_chain_html(trial, trained, beside)
        page = template.substitute(
            title=escape(f"{results.name}, trial {trial.number}"),
            state=escape(f"{STATES[trial.state]}; {reasons[trial.number]}"),
            reason=_reason_html(trial),
            parts=_parts_html(results, trial, parent_chain, folder),
        )
        address = f"{FOLDER}/{trial.number}.html"
        atomic_write(folder / address, page.encode())
        links[str(trial.number)] = address
    return links


def remove_stale_pages(folder: Path, links: Mapping[str, str]) -> None:
    """Remove the pages of earlier reports that `links` does not name, and nothing else."""
    for page in (folder / FOLDER).glob("*.html"):
        if re.fullmatch(r"\d+", page.stem) and page.stem not in links:
            page.unlink(missing_ok=True)


def _nearest_on_front(results: StudyResults) -> list[int]:
    def distance(place: tuple[TrialResult, Figures]) -> float:
        return abs(place[1].accuracy_percent - results.constraint_percent)

    nearest = sorted(results.front, key=distance)[:MAX_FRONT_PAGES]
    return [trial.number for trial, _ in nearest]


def _has_failed(trial: TrialResult) -> bool:
    """Return True for a trial that failed by itself."""
    if trial.end_reason in (None, EndReason.INTERRUPTED):
        return False
    return trial.state is TrialState.FAIL


def _reason_html(trial: TrialResult) -> str:
    if not trial.reason:
        return ""
    return f'<p class="reason">{escape(trial.reason)}</p>'


def _parts_html(results: StudyResults, trial: TrialResult, parent_chain: str, folder: Path) -> str:
    """Return the parts of a page under their headings, without the empty ones.

    Args:
        results: The study.
        trial: The trial.
        parent_chain: The table of the candidates whose weights it started from.
        folder: The folder of the study.
    """
    parts = {
        "Figures": trial_parts.figures_html(trial),
        "Network": trial_parts.spec_html(trial.spec),
        "Warm start": parent_chain,
        "Layers": trial_parts.layers_html(results, trial),
        "Learning curve": curve_html(trial.curve, results.required_percent),
        "Phases": trial_parts.phases_html(trial),
        "Measurement": trial_parts.measurement_html(trial.measurement),
        "Operators": trial_parts.operators_html(trial),
        "Artifacts": trial_parts.artifacts_html(trial, folder),
    }
    return "\n".join(f"<h2>{heading}</h2>\n{part}" for heading, part in parts.items() if part)
