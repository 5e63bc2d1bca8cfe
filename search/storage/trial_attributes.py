"""What a trial tells the study: figures as attributes, model and raw windows as artifacts."""

import json
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import optuna
from optuna.artifacts import upload_artifact

from compress.errors import one_line
from edge.errors import UnavailableError
from edge.measuring.measurement import Measurement
from search.candidate.accuracy import Accuracy
from search.storage.artifacts import ArtifactStore, is_of_s3


def tell_measurement(trial: optuna.Trial, measurement: Measurement) -> None:
    """Write what was measured into the trial."""
    trial.set_user_attr("measurement", json.loads(measurement.to_json()))


def tell_candidate(
    trial: optuna.Trial, model: bytes, operators: Mapping[str, int], accuracy: Accuracy, shortfall: float
) -> None:
    """Write the whole candidate into the trial; `shortfall`: points that it lacks of what the rule requires."""
    about = {
        "sha256": sha256(model).hexdigest(),
        "bytes": len(model),
        "operators": dict(operators),
        "accuracy_percent": accuracy.validation_percent,
        "search_percent": accuracy.search_percent,
        "decision_percent": accuracy.decision_percent,
    }
    trial.set_user_attr("candidate", about)
    trial.set_user_attr("shortfall", shortfall)


def attach(trial: optuna.Trial, artifacts: ArtifactStore, model: bytes, measurement: Measurement) -> None:
    """Keep the model and its raw windows as artifacts of the trial.

    Raises UnavailableError where a bucket does not take them: like the rig, it may be there again in a while.
    """
    upload(trial, artifacts, "model.tflite", model)
    upload(trial, artifacts, "windows.json", measurement.to_json().encode())


def upload(trial: optuna.Trial, artifacts: ArtifactStore, name: str, content: bytes) -> None:
    """Keep one file as an artifact of the trial; its id becomes the attribute "artifact <name>".

    Raises UnavailableError as `attach`.
    """
    with tempfile.TemporaryDirectory(prefix="thrones-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            artifact = upload_artifact(artifact_store=artifacts, file_path=str(path), study_or_trial=trial)
        except Exception as error:
            if not is_of_s3(error):
                raise
            raise UnavailableError(f"the bucket did not take {name}: {one_line(error)}") from error
    trial.set_user_attr(f"artifact {name}", artifact)
