"""A submission from what lies in `runs` to a checked zip."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from compress.data import Dataset
from compress.errors import UsageError
from edge.check import WRONG, Finding
from search.config import StudyConfig
from search.milestones.check import RULE_PERCENT, check, study_of, unpack
from search.milestones.pack import check_team, table_content, winner_content, zipped


def submit(
    milestone: str,
    study: Path,
    runs: Path,
    data: Dataset,
    out: Path,
    *,
    team: str,
    members: str,
    video: Path | None,
    least_percent: float,
) -> tuple[Path, list[Finding]]:
    """Pack M1, M2 or M3 into `out`, after all of it was checked; the zip, and what was found.

    Raises UsageError naming what is missing or wrong; then no zip is written.
    """
    check_team(team)
    if milestone == "m3":
        if video is not None:
            raise UsageError(f"--video {video}: M3 asks for no video, only M1 and M2 do; leave it out")
        content = winner_content(study, runs, team, members)
    else:
        content = table_content(study, runs, team, members, video)
    name = f"{milestone.upper()}_{team}.zip"
    with tempfile.TemporaryDirectory(prefix="thrones-submit-") as temporary:
        made, unpacked = Path(temporary) / name, Path(temporary) / "unpacked"
        made.write_bytes(zipped(content))
        unpack(made, unpacked)
        findings = list(check(name, unpacked, data, least_percent))
        wrong = [finding for finding in findings if finding.verdict == WRONG]
        if wrong:
            what = "; ".join(f"{finding.what}: {finding.found} ({finding.remedy})" for finding in wrong)
            raise UsageError(f"{name} was not written: {what}")
        out.mkdir(parents=True, exist_ok=True)
        unfinished = out / f".{name}"
        try:
            shutil.copyfile(made, unfinished)
            unfinished.replace(out / name)
        finally:
            unfinished.unlink(missing_ok=True)
    return out / name, findings


def check_zip(path: Path, runs: Path, find: Callable[[StudyConfig | None], Dataset]) -> Iterator[Finding]:
    """Check any submission, on the data set that `find` has for its study. Raises UsageError as `unpack`."""
    with tempfile.TemporaryDirectory(prefix="thrones-check-") as folder:
        unpack(path, Path(folder))
        config = study_of(Path(folder), runs)
        data = find(config)
        yield from check(path.name, Path(folder), data, least_percent(config, data))


def least_percent(config: StudyConfig | None, data: Dataset) -> float:
    """The accuracy that a submission must reach: on CIFAR-10 the competition's, on other data the study's own rule."""
    if config is None or data.name == "cifar10":
        return RULE_PERCENT
    return config.rule.percent_on(data.rule_percent)
