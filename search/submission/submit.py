"""A submission from what lies in `runs` to a checked zip."""

import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from compress.datasets.dataset import Dataset
from compress.errors import UsageError
from compress.io import atomic_write
from edge.diagnostics import DOUBTFUL, WRONG, Finding
from search.config import StudyConfig
from search.submission.check.checks import check, study_of
from search.submission.check.unpack import unpack
from search.submission.pack import check_members, check_team, table_files, winner_files, zipped
from search.submission.reproduction import FOLDER
from search.submission.winner import find_winner

Find = Callable[[StudyConfig | None], Dataset]
"""The images of a study; None asks for those of the competition."""


def submit(
    milestone: str,
    study: Path,
    config: StudyConfig,
    find: Find,
    out: Path,
    *,
    team: str,
    members: str,
    video: Path | None,
) -> tuple[Path, list[Finding]]:
    """Pack M1, M2 or M3 of a study, whose file is `study`, into `out`, after all of it was checked.

    The zip, and what was found. Raises UsageError naming what is missing or wrong; then no zip is written.
    """
    check_team(team)
    check_members(members)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name the folder for the zip")
    if milestone == "m3":
        if video is not None:
            raise UsageError(f"--video {video}: M3 asks for no video, only M1 and M2 do; leave it out")
        content, told = winner_files(study, config, team, members), _overtaken(study, config)
    else:
        content, told = table_files(study, config, team, members, video), []
    name = f"{milestone.upper()}_{team}.zip"
    with tempfile.TemporaryDirectory(prefix="thrones-submit-") as temporary:
        made = Path(temporary) / name
        archive = zipped(content)
        made.write_bytes(archive)
        findings = [*check_zip(made, config.folder.parent, find), *told]
        wrong = [finding for finding in findings if finding.verdict == WRONG]
        if wrong:
            what = "; ".join(f"{finding.what}: {finding.found} ({finding.remedy})" for finding in wrong)
            raise UsageError(f"{name} was not written: {what}")
        atomic_write(out / name, archive)
    return out / name, findings


def _overtaken(study: Path, config: StudyConfig) -> list[Finding]:
    """Whether the study's best is another one than was replayed: found since, or passed over by --trial."""
    replayed = sha256((config.folder / FOLDER / "model.tflite").read_bytes()).hexdigest()
    try:
        best = find_winner(study, config.folder.parent, storage=config.storage, artifacts=config.artifacts)
    except UsageError:
        return []  # a winner that came in a folder of its own, or is kept elsewhere
    if best.sha256 == replayed:
        return []
    return [Finding("replay", f"of another model than the best now, {best.where}", DOUBTFUL, "replay again to take it")]


def check_zip(path: Path, runs: Path, find: Find) -> Iterator[Finding]:
    """Check any submission, on the images that `find` has for its study. Raises UsageError as `unpack`."""
    with tempfile.TemporaryDirectory(prefix="thrones-check-") as folder:
        root = unpack(path, Path(folder))
        config = None
        try:
            config = study_of(root, runs)
        except UsageError as error:
            yield Finding("study file", str(error), WRONG, "pack the one that was run")
        yield from check(path.name, root, config, lambda: find(config))
