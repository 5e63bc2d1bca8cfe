"""A submission looked at as the organisers would: slides pluralize, code and video there, claims compared."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from compress.datasets.dataset import Dataset
from compress.errors import UsageError
from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from search.config import StudyConfig, parse_config
from search.report.formatting import pluralize
from search.submission.check import claims
from search.submission.check import slide_claims as by_hand
from search.submission.pack import PACKAGES
from search.submission.slides.slide_reader import SlideText, overflows, read_slides
from search.submission.video import FORMATS, check_video

NAME = re.compile(r"M([123])_([A-Za-z0-9-]+)\.zip")
OTHER_SLIDES = (".ppt", ".pdf", ".odp", ".key")
"""Slides that cannot be read here."""
_ROAD = re.compile(r"^\s*road\s*=", re.MULTILINE)
"""What every study file has, and no .toml of another tool."""
CODE = (".py", ".ipynb", ".c", ".cc", ".cpp")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def study_of(folder: Path, runs: Path) -> StudyConfig | None:
    """The study file in an unpacked submission; None where there is none, as in one made by hand.

    Raises UsageError for one that is damaged.
    """
    texts = {path: path.read_bytes().decode(errors="replace") for path in sorted(folder.glob("*.toml"))}
    studies = [path for path, text in texts.items() if _ROAD.search(text)]
    if len(studies) != 1:
        return None
    try:
        return parse_config(texts[studies[0]], studies[0], runs)
    except UsageError as error:
        raise UsageError(str(error).replace(f"{folder}/", "")) from error


def check(name: str, folder: Path, config: StudyConfig | None, find: Callable[[], Dataset]) -> Iterator[Finding]:
    """Look at the unpacked submission `folder`, which came as the file `name`; each finding when it is there.

    `find` is asked for the images where a model has to run.
    """
    match = NAME.fullmatch(name)
    if match is None:
        yield Finding("name", name, WRONG, "the rules want M1_, M2_ or M3_<team>.zip")
        return
    milestone = int(match[1])
    yield Finding("name", name, OK)
    slides: list[SlideText] = []
    presentations = claims.topmost(folder, (".pptx",))
    if len(presentations) != 1:
        yield _no_slides(folder, presentations)
    else:
        try:
            slides = read_slides(presentations[0])
            yield _count(slides, 1 if milestone == 3 else 5)
            for line in overflows(presentations[0]):
                yield Finding("slides", line, DOUBTFUL, "make the text shorter or smaller")
        except UsageError as error:
            yield Finding("slides", str(error).replace(f"{folder}/", ""), WRONG, "save it again")
    yield _code(folder)
    if milestone == 3:
        yield from claims.winner(folder, slides, config, find())
        return
    yield _video(folder)
    if claims.is_ours(folder):
        yield from claims.table(folder, slides, milestone)
    else:
        yield from by_hand.table(slides, milestone)


def _no_slides(folder: Path, presentations: list[Path]) -> Finding:
    others = [] if presentations else claims.topmost(folder, OTHER_SLIDES)
    if others:
        return Finding("slides", f"{others[0].name} cannot be read here", DOUBTFUL, "save it as .pptx")
    names = ": " + ", ".join(path.name for path in presentations) if presentations else ""
    found = f"{len(presentations)} .pptx files{names}"
    return Finding("slides", found, WRONG, "put exactly one beside the code")


def _count(slides: list[SlideText], most: int) -> Finding:
    wanted = "exactly one slide" if most == 1 else f"one to {most} slides"
    right = 1 <= len(slides) <= most
    return Finding("slides", f"{len(slides)}", OK if right else WRONG, "" if right else f"the rules want {wanted}")


def _code(folder: Path) -> Finding:
    files = [path for path in folder.rglob("*") if path.is_file()]
    written = [path for path in files if path.suffix.lower() in CODE]
    if not written:
        packed = [path.name for path in files if path.suffix.lower() in ARCHIVES]
        if packed:
            return Finding("code", f"{packed[0]} is not looked into", DOUBTFUL, "pack the files themselves")
        found = f"no file that ends in {', '.join(CODE)}"
        return Finding("code", found, WRONG, "the rules want the code with all its parameters")
    if (folder / "code" / "pyproject.toml").exists() and claims.is_ours(folder):
        absent = [name for name in PACKAGES if not (folder / "code" / name).is_dir()]
        if absent:
            return Finding("code", f"code/{absent[0]} is missing", WRONG, "pack the whole source")
    return Finding("code", pluralize(len(written), "file"), OK)


def _video(folder: Path) -> Finding:
    found = claims.topmost(folder, tuple(FORMATS))
    if not found:
        return Finding("video", "none", DOUBTFUL, "the rules ask for one of at most four minutes; --video adds it")
    try:
        return Finding("video", f"{found[0].name}, {check_video(found[0]):.0f} s", OK)
    except UsageError as error:
        return Finding("video", str(error).replace(f"{folder}/", ""), WRONG, "see the rules of M1")
