"""Put together the zips that a team hands in, from measured results."""

import io
import re
import subprocess
import tempfile
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import search
from edge.errors import UsageError
from search.config import StudyConfig
from search.report.formatting import pluralize
from search.study_file import self_contained_text
from search.submission.grid_table import first_of, read_table, write_tables
from search.submission.reproduction import FOLDER, MIN_RUNS, Reproduction, table3
from search.submission.slides.deck import write_table3_slide
from search.submission.video import check_video

Files = dict[str, bytes]
"""Contents by file name."""
PACKAGES = ("compress", "edge", "search")
REPRODUCTION_FILES = ("model.tflite", "spec.json", "table3.md", "results.csv", "results.json")
"""The files that `thrones replay` writes, beside the study file."""
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "thrones"
version = "{version}"
requires-python = ">=3.10,<3.14"
dependencies = {dependencies}
[project.scripts]
thrones = "search.cli.app:main"
[tool.setuptools.packages.find]
include = ["compress*", "edge*", "search*"]
[tool.setuptools.package-data]
compress = ["weights/*"]
search = ["report/pages/*.html", "runner/models/*.tflite"]
"""
"""The pyproject.toml of a submission that is packed without git; a test compares it with the repository's."""


def table_files(path: Path, config: StudyConfig, team: str, members: str, video: Path | None) -> Files:
    """Return the files of M1_<team>.zip or M2_<team>.zip.

    Args:
        path: The study file.
        config: The study's configuration.
        team: The team as it is written in file names and on slides.
        members: The team's members, for the slides.
        video: The video to pack, if any.

    Raises:
        UsageError: Rows are missing, or the video is refused by `check_video`.
    """
    table = read_table(config, first_of(config, path))
    if table.missing:
        missing = f"{pluralize(len(table.missing), 'row')} missing, the first: {table.missing[0]}"
        raise UsageError(missing, remedy=f"continue with `thrones run {path}`")
    if path.stem in ("m1", "m2") and table.milestone != path.stem:
        raise UsageError(f"{path} holds the grid of {table.milestone}: its quantization is not that of {path.stem}")
    name = table.milestone.upper()
    with tempfile.TemporaryDirectory(prefix="thrones-") as temporary:
        written = write_tables(Path(temporary), table, path.name, team, members)
        files = {file.name: file.read_bytes() for file in written}
    files[f"{name}_{team}.pptx"] = files.pop(f"{name}.pptx")
    files[path.name] = with_relative_base(config, self_contained_text(path)).encode()
    if video is not None:
        check_video(video)
        files[f"{name}_{team}{video.suffix.lower()}"] = video.read_bytes()
    steps = (f"thrones run {path.name}", f"thrones table {path.name}")
    files["REPRODUCE.md"] = instructions(f"{name}, team {team}", steps)
    return {**files, **base_files(config), **code_files()}


def winner_files(path: Path, config: StudyConfig, team: str, members: str) -> Files:
    """Return the files of M3_<team>.zip: those of `thrones replay`, the slide and the code.

    Raises UsageError when there was no reproduction, when it does not meet the competition's rules, and when one of
    its files is missing.
    """
    files = _reproduction_files(path, config)
    found = Reproduction.from_json(files["results.json"].decode(errors="replace"))
    _check_rules(found)
    files[f"M3_{team}.pptx"] = _table3_slide(found, len(files["model.tflite"]), team, members)
    measure = "thrones measure model.tflite --plan final"
    if found.data == "cifar10":
        measure = "thrones measure model.tflite --images cifar10 --plan final"
    files["REPRODUCE.md"] = instructions(f"M3, team {team}, road {found.road}", (measure, "thrones replay ."))
    return {**files, **base_files(config), **code_files()}


def _reproduction_files(path: Path, config: StudyConfig) -> Files:
    folder = config.folder / FOLDER
    study_file = f"{config.name}.toml"
    names = [*REPRODUCTION_FILES, study_file]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        remedy = f"`thrones replay {path}` measures as the rules ask"
        raise UsageError(f"{folder}/{missing[0]} is missing", remedy=remedy)
    files = {name: (folder / name).read_bytes() for name in names}
    files[study_file] = with_relative_base(config, files[study_file].decode(errors="replace")).encode()
    return files


def _check_rules(found: Reproduction) -> None:
    """Raise UsageError where the competition's rules do not allow the runs."""
    plan = found.runs[0].plan
    if len(found.runs) < MIN_RUNS:
        runs = pluralize(len(found.runs), "run")
        message = f"the replay has {runs} over the test set, the rules ask for {MIN_RUNS}"
        raise UsageError(message, remedy="replay again")
    if plan.passes < 1:
        message = f"the replay's plan {plan.name} makes no pass over the test set"
        raise UsageError(message, remedy="replay with --plan final")


def _table3_slide(found: Reproduction, model_bytes: int, team: str, members: str) -> bytes:
    environment = found.runs[0].environment
    facts = (
        f"Device: {environment.cpu}, {environment.os}; meter: {found.runs[0].meter}",
        f"Model: {model_bytes:,} bytes, sha256 {found.sha256[:16]}...",
    )
    with tempfile.TemporaryDirectory(prefix="thrones-") as temporary:
        slide = Path(temporary) / "slide.pptx"
        write_table3_slide(slide, table3(found), team, members, facts)
        return slide.read_bytes()


def with_relative_base(config: StudyConfig, text: str) -> str:
    """Return the study file's text as it is packed: it names the team's own base without a folder."""
    if config.base is None:
        return text
    line = f'base = "{Path(config.base).name}"'
    named = re.compile(r"^base\s*=.*$", re.MULTILINE)
    if named.search(text):
        return named.sub(line, text, count=1)
    return f"{line}\n{text}"


def base_files(config: StudyConfig) -> Files:
    """Return the team's own base network, where the study has one: reproducing starts with it.

    Raises UsageError where the file does not exist.
    """
    if config.base is None:
        return {}
    path = Path(config.base)
    if not path.is_file():
        raise UsageError(f"base {path} of study {config.name} does not exist; the submission needs it")
    return {path.name: path.read_bytes()}


def instructions(title: str, steps: tuple[str, str]) -> bytes:
    """Return REPRODUCE.md: three commands."""
    first, second = steps
    return f"""# {title}

Unpack, and in this folder, with Python 3.10 to 3.13 (`THRONES_DATA` names a cifar-10-batches-py folder where CIFAR-10
is not in Keras' cache and cannot be downloaded):

```
python3 -m venv venv && venv/bin/pip install './code[search]'
venv/bin/{first}
venv/bin/{second}
```
""".encode()


def code_files() -> Files:
    """Return the source under code/: the files that git tracks, or without git the installed packages.

    The latter come with a pyproject.toml of their own, since an installed package has none.
    """
    root = Path(search.__file__).parents[1]
    tracked = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=False)
    if tracked.returncode == 0 and (root / "pyproject.toml").exists():
        names = [name for name in tracked.stdout.decode().split("\0") if name and (root / name).is_file()]
        return {f"code/{name}": (root / name).read_bytes() for name in names}
    files = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"code/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    files["code/pyproject.toml"] = PROJECT.format(version=version("thrones"), dependencies=_dependencies()).encode()
    return files


def _dependencies() -> list[str]:
    """Return what the installed package needs to search, its extra `search` included."""
    extra = re.compile(r"""\s*(;|\band)\s*extra == ['"]search['"]""")
    needs = requires("thrones") or []
    return [extra.sub("", need) for need in needs if "extra ==" not in need or extra.search(need)]


def zipped(files: Files) -> bytes:
    """Return the files as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            archive.writestr(name, value)
    return buffer.getvalue()


def check_team(team: str) -> str:
    """Return the team as file names have it. Raises UsageError for one that a file name cannot hold."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,20}", team):
        raise UsageError(f"team {team!r} must be 1 to 20 letters, digits or hyphens, such as 7")
    return team


def check_members(members: str) -> str:
    """Return the names as slides have them. Raises UsageError for none, and for characters that cannot be printed."""
    if not members.strip() or not all(character.isprintable() or character.isspace() for character in members):
        raise UsageError(f'--members {members!r} must be names, such as "Ann Arbor, Bob Dylan"')
    return members
