"""A submission looked at as the organisers would: unpacked, slides counted, code and video there, claims compared."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from compress.data import Dataset
from compress.errors import UsageError, one_line
from edge.check import DOUBTFUL, OK, WRONG, Finding
from search.config import StudyConfig, parse_config
from search.milestones.claims import table, topmost, winner
from search.milestones.slide_check import SlideText, overflows, read_slides
from search.milestones.video import FORMATS, check_video

NAME = re.compile(r"M([123])_([A-Za-z0-9-]+)\.zip")
MOST_BYTES = 1_000_000_000
"""A zip that unpacks to more than this is not unpacked."""
RULE_PERCENT = 70.0


def unpack(path: Path, folder: Path) -> None:
    """Unpack a submission. Raises UsageError for a file that is no whole zip, or one that would write elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                inside = PurePosixPath(info.filename)
                if inside.is_absolute() or ".." in inside.parts or "\\" in info.filename:
                    raise UsageError(f"{path} holds {info.filename}, which would be written elsewhere; pack it again")
            size = sum(info.file_size for info in archive.infolist())
            if size > MOST_BYTES:
                raise UsageError(f"{path} unpacks to {size / 1e6:,.0f} MB, the limit is {MOST_BYTES / 1e6:,.0f} MB")
            archive.extractall(folder)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; name the zip to check") from error
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise UsageError(f"{path} is no whole zip ({one_line(error)}); pack or copy it again") from error


def study_of(folder: Path, runs: Path) -> StudyConfig | None:
    """The study file in an unpacked submission; None where there is none, as in one made by hand."""
    files = sorted(folder.glob("*.toml"))
    if len(files) != 1:
        return None
    return parse_config(files[0].read_text(encoding="utf-8"), files[0], runs)


def check(name: str, folder: Path, data: Dataset, least_percent: float = RULE_PERCENT) -> Iterator[Finding]:
    """Look at the unpacked submission `folder`, which came as the file `name`; each finding when it is there."""
    match = NAME.fullmatch(name)
    if match is None:
        yield Finding("name", name, WRONG, "the rules want M1_, M2_ or M3_<team>.zip")
        return
    milestone = int(match[1])
    yield Finding("name", name, OK)
    slides: list[SlideText] = []
    presentations = topmost(folder, (".pptx",))
    if len(presentations) != 1:
        yield Finding("slides", f"{len(presentations)} .pptx files", WRONG, "put exactly one beside the code")
    else:
        try:
            slides = read_slides(presentations[0])
            yield from _slides(slides, 1 if milestone == 3 else 5)
            for line in overflows(presentations[0]):
                yield Finding("slides", line, DOUBTFUL, "make the text shorter or smaller")
        except UsageError as error:
            yield Finding("slides", str(error).replace(f"{folder}/", ""), WRONG, "save it again")
    yield _code(folder)
    if milestone == 3:
        yield from winner(folder, slides, data, least_percent)
    else:
        yield _video(folder)
        yield from table(folder, slides, milestone)


def _slides(slides: list[SlideText], most: int) -> Iterator[Finding]:
    wanted = "exactly one slide" if most == 1 else f"one to {most} slides"
    right = 1 <= len(slides) <= most
    yield Finding("slides", f"{len(slides)}", OK if right else WRONG, "" if right else f"the rules want {wanted}")


def _code(folder: Path) -> Finding:
    files = [path for path in folder.rglob("*.py") if path.is_file()]
    if not files:
        return Finding("code", "no .py file", WRONG, "the rules want the code with all its parameters")
    if (folder / "code" / "pyproject.toml").exists():
        absent = [name for name in ("edge", "compress", "search") if not (folder / "code" / name).is_dir()]
        if absent:
            return Finding("code", f"code/{absent[0]} is missing", WRONG, "pack the whole source")
    return Finding("code", f"{len(files)} Python files", OK)


def _video(folder: Path) -> Finding:
    found = topmost(folder, tuple(FORMATS))
    if not found:
        return Finding("video", "none", DOUBTFUL, "the rules ask for one of at most four minutes; --video adds it")
    try:
        return Finding("video", f"{found[0].name}, {check_video(found[0]):.0f} s", OK)
    except UsageError as error:
        return Finding("video", str(error).replace(f"{folder}/", ""), WRONG, "see the rules of M1")
