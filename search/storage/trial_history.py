"""All trials of a study, read again and again: what has ended is read once."""

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial

from compress.spec import CompressionSpec
from search.storage.trial_record import TrialRecord, read_trial


class RecordCache:
    """The records of one study's trials. A trial that has ended never changes, so its record is kept."""

    def __init__(self) -> None:
        self._ended: dict[int, TrialRecord] = {}

    def read(self, trials: Iterable[FrozenTrial]) -> list[TrialRecord]:
        """Return the records of these trials, in their order."""
        records = []
        for trial in trials:
            record = self._ended.get(trial.number)
            if record is None:
                record = read_trial(trial)
                if trial.state.is_finished():
                    self._ended[trial.number] = record
            records.append(record)
        return records


class TrialHistory:
    """All trials of a study. It may have ten thousand, and many workers look at all of them before each new one."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._cache = RecordCache()

    def records(self) -> list[TrialRecord]:
        """Return the records of all trials as they are now, in the order of their numbers."""
        return self._cache.read(self._study.get_trials(deepcopy=False))


def trained_specs(records: Iterable[TrialRecord]) -> list[CompressionSpec]:
    """Return the specs of the candidates that were trained to their end."""
    return [record.spec for record in records if record.spec is not None and record.evaluation is not None]
