"""Where a study's models and raw windows are kept: a folder, or a bucket of S3; the study itself says where."""

import io
import os
import platform
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

from compress.errors import UsageError, one_line
from edge.errors import UnavailableError
from search.config import StudyConfig
from search.storage.open_storage import load_study, study_exists
from search.storage.study_record import Place, record_of, record_place

ArtifactStore = FileSystemArtifactStore | Boto3ArtifactStore
FORBIDDEN = 403
ONE_FOR_ALL = "--artifacts with a folder that they share, or s3://BUCKET"


def open_artifacts(config: StudyConfig) -> ArtifactStore:
    """Open where the study's models and raw windows are. Raises UsageError as `place_of` and `artifacts_at` do."""
    return artifacts_at(place_of(_begun(config), config))


def place_of(study: optuna.Study | None, config: StudyConfig) -> str:
    """Return the folder or bucket of a study's artifacts: the named one, the study folder's own, or the stored one.

    The study's own folder comes before the stored place, so that a moved runs folder keeps working. A study that is
    yet to begin (None) has no probe, and the place is taken unseen. Raises UsageError where the named place, or else
    both of the others, do not hold the study's probe.
    """
    own = str(config.folder / "artifacts")
    stored = None if study is None else record_of(study).artifacts
    if stored is None:
        return config.artifacts or own
    for place in [config.artifacts] if config.artifacts else [own, stored.place]:
        if _holds(place, stored.probe):
            return place
    kept = _shown(stored.place, stored.host)
    here = platform.node()
    if config.artifacts:
        raise UsageError(
            f"artifacts {_shown(config.artifacts, here)} do not hold the models of {config.name}, which are in "
            f"{kept}; copy them there first, or give all hosts one place: {ONE_FOR_ALL}"
        )
    raise UsageError(
        f"the models of {config.name} are in {kept}, where {here} cannot read them; copy them to one place for "
        f"all hosts and name it: {ONE_FOR_ALL}"
    )


def check_place(config: StudyConfig) -> None:
    """Check, before any work is done, that a study's artifacts can be read and written from here.

    Raises UsageError as `place_of`, and for a place that cannot be written.
    """
    _checked_place(_begun(config), config)


def _begun(config: StudyConfig) -> optuna.Study | None:
    return load_study(config) if study_exists(config) else None


def _checked_place(study: optuna.Study | None, config: StudyConfig) -> str:
    place = place_of(study, config)
    here = _shown(place, platform.node())
    try:
        store = artifacts_at(place)
        probe = write_probe(store)
        with suppress(Exception):  # who may write into a bucket may not be allowed to remove
            store.remove(probe)
    except Exception as error:
        if not (isinstance(error, OSError) or is_of_s3(error)):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise UsageError(
            f"artifacts {here} cannot be written ({reason}), and the models of {config.name} go there; give all hosts "
            f"one place that they may write: {ONE_FOR_ALL}"
        ) from error
    return place


def record_artifacts_place(study: optuna.Study, config: StudyConfig) -> None:
    """Write into the study where its artifacts are, for all who join it or read it later; also where they moved to.

    Raises UsageError as `check_place`.
    """
    place = _checked_place(study, config)
    stored = record_of(study).artifacts
    probe = write_probe(artifacts_at(place)) if stored is None else stored.probe
    found = place_with(place, probe)
    if stored != found:
        record_place(study, found)


def place_with(place: str, probe: str) -> Place:
    """Return what a study stores of the place that holds this probe."""
    if place.startswith("s3://"):
        return Place(place, None, probe)
    return Place(os.path.abspath(place), platform.node(), probe)


def write_probe(store: ArtifactStore) -> str:
    """Write a small artifact by which the place is known again; return its name, which is never given twice."""
    probe = f"thrones-probe-{uuid.uuid4().hex}"
    store.write(probe, io.BytesIO(b"This file tells thrones that the models of a study are in this place.\n"))
    return probe


def _holds(place: str, artifact: str) -> bool:
    """Return True where the artifact can be read there; make no folder. Raises UsageError for a faulty bucket."""
    if "://" not in place and not Path(place).is_dir():
        return False
    try:
        with artifacts_at(place).open_reader(artifact) as file:
            file.read()
    except (ArtifactNotFound, OSError):
        return False
    except Exception as error:
        if not is_of_s3(error):
            raise
        raise UsageError(f"artifacts {place}: {one_line(error)}; check boto3's own settings") from error
    return True


def _shown(place: str, host: str | None) -> str:
    return place if place.startswith("s3://") else f"{os.path.abspath(place)} on {host}"


def artifacts_at(place: str) -> ArtifactStore:
    """Open the store in a folder, or s3://BUCKET by boto3's own settings. Raises UsageError for another URL."""
    if not place.startswith("s3://"):
        if "://" in place:
            raise UsageError(f"artifacts {place!r}: wanted a folder or s3://BUCKET")
        Path(place).mkdir(parents=True, exist_ok=True)
        return FileSystemArtifactStore(place)
    bucket, _, rest = place.removeprefix("s3://").partition("/")
    if not bucket or rest:
        raise UsageError(f"artifacts {place!r}: wanted s3://BUCKET, without a path; a bucket holds many studies")
    try:
        store = Boto3ArtifactStore(bucket)
    except ImportError as error:
        raise UsageError(f"artifacts {place}: boto3 is not installed; pip install 'thrones[s3]'") from error
    try:
        store.client.head_bucket(Bucket=bucket)
    except Exception as error:
        if not is_of_s3(error):
            raise
        if _http_status(error) != FORBIDDEN:  # who may not ask for the bucket may yet read and write in it
            remedy = "check the bucket's name and boto3's own settings"
            raise UsageError(f"artifacts {place}: {one_line(error)}", remedy=remedy) from error
    return store


def _http_status(error: Exception) -> int | None:
    """Return the HTTP status of an error of boto3; None where the server did not answer."""
    response = getattr(error, "response", {})
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def is_of_s3(error: Exception) -> bool:
    """Return True where boto3 has raised the error; boto3 need not be installed."""
    return type(error).__module__.partition(".")[0] in ("boto3", "botocore")


def read_artifact(config: StudyConfig, artifact: str) -> bytes:
    """Return a stored artifact. Raises UsageError when it is not there, and as `open_artifacts`."""
    place = place_of(_begun(config), config)
    try:
        with artifacts_at(place).open_reader(artifact) as file:
            content: bytes = file.read()
    except ArtifactNotFound as error:
        raise UsageError(f"{place}/{artifact} is gone; name where the study's models are with --artifacts") from error
    return content


def upload_artifacts(trial: optuna.Trial, store: ArtifactStore, files: Mapping[str, bytes]) -> dict[str, str]:
    """Keep files as artifacts of the trial; return their ids by name.

    Raises UnavailableError where a bucket does not take them: like the test bench, it may be back in a while.
    """
    ids = {}
    with tempfile.TemporaryDirectory(prefix="thrones-") as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                ids[name] = upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
            except Exception as error:
                if not is_of_s3(error):
                    raise
                raise UnavailableError(f"the bucket did not take {name}: {one_line(error)}") from error
    return ids
