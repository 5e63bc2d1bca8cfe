"""Pack a submission from the results of a study, and check it or any other one."""

import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from compress.datasets.dataset import Dataset
from compress.io import atomic_write
from edge.diagnostics import DOUBTFUL, WRONG, Finding
from edge.errors import UsageError
from search.config import StudyConfig
from search.submission.check.check_submission import check, study_of
from search.submission.check.unpack import unpack
from search.submission.pack import check_members, check_team, table_files, winner_files, zipped
from search.submission.reproduction import FOLDER
from search.submission.winner import find_winner

Find = Callable[[StudyConfig | None], Dataset]
"""Returns the images of a study, for None those of the competition."""


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
    """Pack a submission, check it, and write the zip only if nothing is wrong.

    Args:
        milestone: m1, m2 or m3.
        study: The study file.
        config: The study's configuration.
        find: Returns the images that the submission is checked with.
        out: The folder for the zip.
        team: The team as it is written in file names and on slides.
        members: The team's members, for the slides.
        video: The video of M1 or M2, if any.

    Returns:
        The zip, and all findings.

    Raises:
        UsageError: Something is missing or wrong; the message names it, and no zip is written.
    """
    check_team(team)
    check_members(members)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", remedy="name the folder for the zip")
    findings: list[Finding] = []
    if milestone == "m3":
        if video is not None:
            raise UsageError(f"--video {video}: only M1 and M2 have a video, M3 has none", remedy="leave it out")
        files = winner_files(study, config, team, members)
        findings += _check_up_to_date(study, config)
    else:
        files = table_files(study, config, team, members, video)
    archive = zipped(files)
    path = out / f"{milestone.upper()}_{team}.zip"
    findings = [*_check_archive(path.name, archive, config, find), *findings]
    wrong = [f"{each.what}: {each.found} ({each.remedy})" for each in findings if each.verdict == WRONG]
    if wrong:
        raise UsageError(f"{path.name} was not written: {'; '.join(wrong)}")
    atomic_write(path, archive)
    return path, findings


def _check_archive(name: str, archive: bytes, config: StudyConfig, find: Find) -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="thrones-submit-") as temporary:
        path = Path(temporary) / name
        path.write_bytes(archive)
        return list(check_zip(path, config.folder.parent, find))


def _check_up_to_date(study: Path, config: StudyConfig) -> list[Finding]:
    """Warn where the study's best is not the reproduced one: it was found later, or --trial chose another one."""
    reproduced = sha256((config.folder / FOLDER / "model.tflite").read_bytes()).hexdigest()
    try:
        best = find_winner(study, config.folder.parent, storage=config.storage, artifacts=config.artifacts)
    except UsageError:
        return []  # a winner that came in a folder of its own, or is kept elsewhere
    if best.sha256 == reproduced:
        return []
    return [Finding("replay", f"of another model than the best now, {best.where}", DOUBTFUL, "replay again to take it")]


def check_zip(path: Path, runs: Path, find: Find) -> Iterator[Finding]:
    """Check any submission, on the images that `find` has for its study. Raises UsageError as `unpack` does."""
    with tempfile.TemporaryDirectory(prefix="thrones-check-") as folder:
        root = unpack(path, Path(folder))
        config = None
        try:
            config = study_of(root, runs)
        except UsageError as error:
            yield Finding("study file", error.message, WRONG, error.remedy or "pack the one that was run")
        yield from check(path.name, root, config, lambda: find(config))
