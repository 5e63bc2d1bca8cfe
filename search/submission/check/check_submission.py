"""Check a submission as the organisers would: count slides, look for code and video, compare claims."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from compress.datasets.dataset import Dataset
from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from edge.errors import UsageError
from search.config import StudyConfig, parse_config
from search.report.formatting import pluralize
from search.submission.check import claims, slide_claims
from search.submission.check.zip_files import is_ours, topmost
from search.submission.pack import PACKAGES
from search.submission.slides.slide_reader import SlideText, overflows, read_slides
from search.submission.video import FORMATS, check_video

NAME = re.compile(r"M([123])_([A-Za-z0-9-]+)\.zip")
OTHER_SLIDES = (".ppt", ".pdf", ".odp", ".key")
"""Slides that cannot be read here."""
_ROAD = re.compile(r"^\s*road\s*=", re.MULTILINE)
"""Found in every study file, and in no .toml of another tool."""
CODE = (".py", ".ipynb", ".c", ".cc", ".cpp")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def study_of(folder: Path, runs: Path) -> StudyConfig | None:
    """Read the study file of an unpacked submission.

    Returns None where there is none, as in a submission that was made by hand. Raises UsageError for a damaged one.
    """
    texts = {path: path.read_bytes().decode(errors="replace") for path in sorted(folder.glob("*.toml"))}
    studies = [path for path, text in texts.items() if _ROAD.search(text)]
    if len(studies) != 1:
        return None
    path = studies[0]
    return parse_config(texts[path], path, runs, shown=path.relative_to(folder))


def check(name: str, folder: Path, config: StudyConfig | None, find: Callable[[], Dataset]) -> Iterator[Finding]:
    """Check an unpacked submission, and yield each finding as soon as it is known.

    Args:
        name: The name of the zip.
        folder: Where it was unpacked.
        config: Its study file, None without one.
        find: Returns the images; called only where a model has to run.
    """
    match = NAME.fullmatch(name)
    if match is None:
        yield Finding("name", name, WRONG, "the rules want M1_, M2_ or M3_<team>.zip")
        return
    yield Finding("name", name, OK)
    milestone = int(match[1])
    slides: list[SlideText] = []
    presentations = topmost(folder, (".pptx",))
    if len(presentations) == 1:
        try:
            slides = read_slides(presentations[0])
            yield from _check_slides(presentations[0], slides, milestone)
        except UsageError as error:
            yield Finding("slides", error.message, WRONG, error.remedy)
    else:
        yield _no_slides(folder, presentations)
    yield _check_code(folder)
    if milestone == 3:
        yield from claims.check_winner(folder, slides, config, find())
        return
    yield _check_video(folder)
    if is_ours(folder):
        yield from claims.check_table(folder, slides, milestone)
    else:
        yield from slide_claims.check_table(slides, milestone)


def _check_slides(path: Path, slides: list[SlideText], milestone: int) -> Iterator[Finding]:
    limit = 1 if milestone == 3 else 5
    if 1 <= len(slides) <= limit:
        yield Finding("slides", f"{len(slides)}", OK)
    else:
        wanted = "exactly one slide" if limit == 1 else f"one to {limit} slides"
        yield Finding("slides", f"{len(slides)}", WRONG, f"the rules want {wanted}")
    for line in overflows(path):
        yield Finding("slides", line, DOUBTFUL, "make the text shorter or smaller")


def _no_slides(folder: Path, presentations: list[Path]) -> Finding:
    if presentations:
        names = ", ".join(path.name for path in presentations)
        found = f"{len(presentations)} .pptx files: {names}"
        return Finding("slides", found, WRONG, "put exactly one beside the code")
    others = topmost(folder, OTHER_SLIDES)
    if others:
        return Finding("slides", f"{others[0].name} cannot be read here", DOUBTFUL, "save it as .pptx")
    return Finding("slides", "0 .pptx files", WRONG, "put exactly one beside the code")


def _check_code(folder: Path) -> Finding:
    files = [path for path in folder.rglob("*") if path.is_file()]
    code = [path for path in files if path.suffix.lower() in CODE]
    if not code:
        packed = [path.name for path in files if path.suffix.lower() in ARCHIVES]
        if packed:
            return Finding("code", f"{packed[0]} is not looked into", DOUBTFUL, "pack the files themselves")
        found = f"no file that ends in {', '.join(CODE)}"
        return Finding("code", found, WRONG, "the rules want the code with all its parameters")
    if (folder / "code" / "pyproject.toml").exists() and is_ours(folder):
        absent = [name for name in PACKAGES if not (folder / "code" / name).is_dir()]
        if absent:
            return Finding("code", f"code/{absent[0]} is missing", WRONG, "pack the whole source")
    return Finding("code", pluralize(len(code), "file"), OK)


def _check_video(folder: Path) -> Finding:
    found = topmost(folder, tuple(FORMATS))
    if not found:
        return Finding("video", "none", DOUBTFUL, "the rules ask for one of at most four minutes; --video adds it")
    try:
        return Finding("video", f"{found[0].name}, {check_video(found[0]):.0f} s", OK)
    except UsageError as error:
        return Finding("video", error.message, WRONG, error.remedy)
