"""Where a study's models and raw windows are kept: a folder, or a bucket of S3."""

from pathlib import Path

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from compress.errors import UsageError, one_line
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
        store = Boto3ArtifactStore(bucket)
    except ImportError as error:
        raise UsageError(f"artifacts {place}: boto3 is not installed; pip install 'thrones[s3]'") from error
    try:
        store.client.head_bucket(Bucket=bucket)
    except Exception as error:
        if not is_of_s3(error):
            raise
        if "(403)" not in str(error):  # who may not ask for the bucket may yet read and write in it
            remedy = "check the bucket's name and boto3's own settings"
            raise UsageError(f"artifacts {place}: {one_line(error)}; {remedy}") from error
    return store


def is_of_s3(error: Exception) -> bool:
    """Whether boto3 has raised it, which need not be installed."""
    return type(error).__module__.partition(".")[0] in ("boto3", "botocore")


def read_artifact(config: StudyConfig, artifact: str) -> bytes:
    """A stored artifact. Raises UsageError when it is not there."""
    try:
        with open_artifacts(config).open_reader(artifact) as file:
            return file.read()
    except ArtifactNotFound as error:
        place = config.artifacts or str(config.folder / "artifacts")
        raise UsageError(f"{place}/{artifact} is gone; name where the study's models are with --artifacts") from error
