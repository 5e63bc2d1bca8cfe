"""The zips that a team hands in: put together from what was measured, checked, and only then written."""

import io
import re
import subprocess
import tempfile
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import search
from compress.errors import UsageError
from search.config import StudyConfig
from search.report.formatting import counted
from search.study_file import self_contained_text
from search.submission.grid_table import first_of, read_table, write_tables
from search.submission.reproduce import FOLDER, LEAST_RUNS, Replay, table3
from search.submission.slides.deck import write_table3_slide
from search.submission.video import check_video

Content = dict[str, bytes]
PACKAGES = ("edge", "compress", "search")
REPLAY_FILES = ("model.tflite", "spec.json", "table3.md", "results.csv", "results.json")
"""What `thrones replay` leaves, beside the study file."""
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
include = ["edge*", "compress*", "search*"]
[tool.setuptools.package-data]
compress = ["weights/*"]
search = ["report/pages/*.html", "runner/models/*.tflite"]
"""


def table_content(path: Path, config: StudyConfig, team: str, members: str, video: Path | None) -> Content:
    """What M1_<team>.zip or M2_<team>.zip holds. Raises UsageError for rows that are missing, and as `check_video`."""
    table = read_table(config, first_of(config, path))
    if table.missing:
        what = f"{counted(len(table.missing), 'row')} missing, the first: {table.missing[0]}"
        raise UsageError(f"{what}; go on with `thrones run {path}`")
    if table.milestone != f"m{path.stem[-1:]}" and path.stem in ("m1", "m2"):
        raise UsageError(f"{path} holds the grid of {table.milestone}: its quantization is not that of {path.stem}")
    name = table.milestone.upper()
    with tempfile.TemporaryDirectory(prefix="thrones-") as temporary:
        written = write_tables(Path(temporary), table, path.name, team, members)
        content = {file.name: file.read_bytes() for file in written}
    content[f"{name}_{team}.pptx"] = content.pop(f"{name}.pptx")
    content[path.name] = beside(config, self_contained_text(path)).encode()
    if video is not None:
        check_video(video)
        content[f"{name}_{team}{video.suffix.lower()}"] = video.read_bytes()
    steps = (f"thrones run {path.name}", f"thrones table {path.name}")
    return {**content, "REPRODUCE.md": reproduce(f"{name}, team {team}", steps), **base_of(config), **code()}


def winner_content(path: Path, config: StudyConfig, team: str, members: str) -> Content:
    """What M3_<team>.zip holds: what `thrones replay` left, the slide and the code.

    Raises UsageError when there was no replay, or one that the rules do not allow, or a part of it is missing.
    """
    folder = config.folder / FOLDER
    files = [*REPLAY_FILES, f"{config.name}.toml"]
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder}/{missing[0]} is missing; `thrones replay {path}` measures as the rules ask")
    content = {name: (folder / name).read_bytes() for name in files}
    content[files[-1]] = beside(config, content[files[-1]].decode(errors="replace")).encode()
    found = Replay.from_json(content["results.json"].decode(errors="replace"))
    plan = found.runs[0].plan
    if len(found.runs) < LEAST_RUNS:
        done = counted(len(found.runs), "run")
        raise UsageError(f"the replay has {done} over the test set, the rules ask for {LEAST_RUNS}; replay again")
    if plan.passes < 1:
        raise UsageError(f"the replay's plan {plan.name} makes no pass over the test set; replay with --plan final")
    table, environment = table3(found), found.runs[0].environment
    facts = (
        f"Device: {environment.cpu}, {environment.os}; meter: {found.runs[0].meter}",
        f"Model: {len(content['model.tflite']):,} bytes, sha256 {found.sha256[:16]}...",
    )
    with tempfile.TemporaryDirectory(prefix="thrones-") as temporary:
        slide = Path(temporary) / "slide.pptx"
        write_table3_slide(slide, table, team, members, facts)
        content[f"M3_{team}.pptx"] = slide.read_bytes()
    steps = ("thrones measure model.tflite --images cifar10 --plan final", "thrones replay .")
    if found.data != "cifar10":
        steps = ("thrones measure model.tflite --plan final", steps[1])
    title = f"M3, team {team}, road {found.road}"
    return {**content, "REPRODUCE.md": reproduce(title, steps), **base_of(config), **code()}


def beside(config: StudyConfig, text: str) -> str:
    """The study file's text as it is packed: the team's own base lies beside it."""
    if config.base is None:
        return text
    line = f'base = "{Path(config.base).name}"'
    named = re.compile(r"^base\s*=.*$", re.MULTILINE)
    return named.sub(line, text, count=1) if named.search(text) else f"{line}\n{text}"


def base_of(config: StudyConfig) -> Content:
    """The team's own base, where the study file names one, under that name: the commands of REPRODUCE.md begin with it.

    Raises UsageError where it is not there.
    """
    if config.base is None:
        return {}
    path = Path(config.base)
    if not path.is_file():
        raise UsageError(f"base {path} of study {config.name} does not exist; the submission needs it")
    return {path.name: path.read_bytes()}


def reproduce(title: str, steps: tuple[str, str]) -> bytes:
    """REPRODUCE.md: three commands."""
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


def code() -> Content:
    """The source under code/: what git tracks, or without git the installed packages and a pyproject.toml for them."""
    root = Path(search.__file__).parents[1]
    tracked = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=False)
    if tracked.returncode == 0 and (root / "pyproject.toml").exists():
        names = [name for name in tracked.stdout.decode().split("\0") if name and (root / name).is_file()]
        return {f"code/{name}": (root / name).read_bytes() for name in names}
    content = {
        f"code/{path.relative_to(root).as_posix()}": path.read_bytes()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    needed = [need.replace(' ; extra == "search"', "").replace('; extra == "search"', "") for need in _needs()]
    content["code/pyproject.toml"] = PROJECT.format(version=version("thrones"), dependencies=needed).encode()
    return content


def _needs() -> list[str]:
    return [need for need in requires("thrones") or [] if "extra ==" not in need or 'extra == "search"' in need]


def zipped(content: Content) -> bytes:
    """The content as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return buffer.getvalue()


def check_team(team: str) -> str:
    """The team as it stands in the file's name. Raises UsageError for one that a file name cannot hold."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,20}", team):
        raise UsageError(f"team {team!r} must be 1 to 20 letters, digits or hyphens, such as 7")
    return team


def check_members(members: str) -> str:
    """The names as they stand on the slides. Raises UsageError for none, and for what a slide cannot hold."""
    if not members.strip() or not all(character.isprintable() or character.isspace() for character in members):
        raise UsageError(f'--members {members!r} must be names, such as "Ann Arbor, Bob Dylan"')
    return members
