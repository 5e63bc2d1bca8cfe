"""Where a study's models and raw windows are kept: a folder, or a bucket of S3."""

from pathlib import Path

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from compress.errors import UsageError
from search.config import StudyConfig

ArtifactStore = FileSystemArtifactStore | Boto3ArtifactStore


def open_artifacts(config: StudyConfig) -> ArtifactStore:
    """Where the study's models and raw windows are kept. Raises UsageError as `artifacts_at` does."""
    return artifacts_at(config.artifacts or str(config.folder / "artifacts"))


def artifacts_at(place: str) -> ArtifactStore:
    """The store in a folder, or s3://BUCKET by boto3's own settings. Raises UsageError for another URL."""
    if not place.startswith("s3://"):
        if "://" in place:
            raise UsageError(f"artifacts {place!r}: wanted a folder or s3://BUCKET")
        Path(place).mkdir(parents=True, exist_ok=True)
        return FileSystemArtifactStore(place)
    bucket, _, rest = place.removeprefix("s3://").partition("/")
    if not bucket or rest:
        raise UsageError(f"artifacts {place!r}: wanted s3://BUCKET, without a path; a bucket holds many studies")
    try:
        return Boto3ArtifactStore(bucket)
    except ImportError as error:
        raise UsageError(f"artifacts {place}: boto3 is not installed; pip install 'thrones[s3]'") from error


def read_artifact(config: StudyConfig, artifact: str) -> bytes:
    """A stored artifact. Raises FileNotFoundError when it is not there."""
    try:
        with open_artifacts(config).open_reader(artifact) as file:
            return file.read()
    except ArtifactNotFound as error:
        place = config.artifacts or str(config.folder / "artifacts")
        raise FileNotFoundError(2, "No such artifact", f"{place}/{artifact}") from error
