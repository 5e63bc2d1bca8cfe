"""What one trial has to do: which candidate it tries, what it has to beat, and when it is given up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.config import StudyConfig
from search.storage.trial_record import TrialRecord
from search.strategy.ranking import TIE, rank, rank_predicted
from search.strategy.warm_start import QAT_SHARE, choose_parent, promised_gain, weights_only


@dataclass(frozen=True)
class Requirements:
    """The accuracy that a candidate needs, and the time that is left for it.

    Args:
        constraint_percent: The least accuracy.
        required_percent: That with its margin, on the validation images that decide.
        deadline_s: `time.monotonic()` when the budget ends.
    """

    constraint_percent: float
    required_percent: float
    deadline_s: float


@dataclass(frozen=True)
class Incumbent:
    """The best candidate so far: what a new one has to beat. Its accuracy is that on the search's images."""

    number: int
    value: float
    spec: CompressionSpec
    accuracy_percent: float


@dataclass(frozen=True)
class Task:
    """What one trial has to do.

    Args:
        spec: The candidate.
        requirements: The accuracy that it needs, and the time that is left for it.
        incumbent: The best so far; None where no candidate is given up for its speed.
        expected_gain: The points of accuracy that the final training is expected to add.
        stops_training: Stop a training that cannot reach what is required.
        tie: An architecture may be worse than the incumbent's by this share: a tie goes to the more accurate one.
        records: The trials of the study when the task was made; a training can start from their weights.
    """

    spec: CompressionSpec
    requirements: Requirements
    incumbent: Incumbent | None = None
    expected_gain: float = 0.0
    stops_training: bool = False
    tie: float = 0.0
    records: Sequence[TrialRecord] = ()

    @property
    def measured_architectures(self) -> list[tuple[int, float]]:
        """Return the MACs and the value at 100 % accuracy of each architecture that was measured."""
        architectures = [record.architecture for record in self.records]
        return [(found.macs, found.best_case) for found in architectures if found is not None]

    @property
    def least_percent(self) -> float:
        """Return the accuracy that the training has to reach; 0 where it is not stopped early."""
        return self.requirements.required_percent - self.expected_gain if self.stops_training else 0.0


def search_task(
    suggested: CompressionSpec,
    parents: Iterable[CompressionSpec],
    records: Sequence[TrialRecord],
    config: StudyConfig,
    requirements: Requirements,
) -> Task:
    """Return what a trial of the search has to do.

    Its candidate may miss the constraint by as much as the final training is expected to add.

    Args:
        suggested: The spec that the trial chose.
        parents: The trained candidates that it may start from.
        records: The trials of the study.
        config: The study.
        requirements: The accuracy that it needs, and the time that is left for it.
    """
    spec = choose_parent(suggested, parents)
    return Task(
        spec=spec,
        requirements=requirements,
        incumbent=incumbent_of(rank_predicted(records, config.road)),
        expected_gain=promised_gain(spec, config.final_training),
        stops_training=True,
        records=records,
    )


def final_training_task(
    record: TrialRecord, records: Sequence[TrialRecord], config: StudyConfig, requirements: Requirements
) -> Task:
    """Return the final training of a candidate of the search.

    It is trained to its end: over many epochs a curve rises late, when the learning rate falls.

    Args:
        record: The trial.
        records: The trials of the study.
        config: The study.
        requirements: The accuracy that it needs, and the time that is left for it.
    """
    return Task(
        spec=refined_spec(record, records, config),
        requirements=requirements,
        incumbent=incumbent_of(rank(records, config.road)),
        tie=TIE,
        records=records,
    )


def refined_spec(record: TrialRecord, records: Sequence[TrialRecord], config: StudyConfig) -> CompressionSpec:
    """Return the spec of a final training: the candidate's, trained for longer.

    qat_int8 starts from the weights to which the candidate's final training in float led.
    """
    assert record.refinement is not None  # it is one
    origin = records[record.refinement.of].spec
    assert origin is not None  # it was evaluated
    quantization = origin.quantization
    if record.refinement.quantization is not None:
        quantization = Quantization(record.refinement.quantization)
    io_dtype = quantization.io_dtype(config.space.io_dtype)
    epochs = config.final_training.epochs
    if origin.quantization.needs_aware_training:  # trained as a whole, from the base
        return replace(origin, epochs=epochs, quantization=quantization, io_dtype=io_dtype)
    longer = replace(weights_only(origin), epochs=epochs, parent=weights_only(origin))
    if quantization.needs_aware_training:
        longer = replace(longer, epochs=max(1, epochs // QAT_SHARE), parent=longer)
    return replace(longer, quantization=quantization, io_dtype=io_dtype, threads=origin.threads)


def incumbent_of(ranked: Sequence[TrialRecord]) -> Incumbent | None:
    """Return the first of the ranked trials as what has to be beaten; None where there is none."""
    if not ranked:
        return None
    best = ranked[0]
    assert best.value is not None and best.spec is not None and best.evaluation is not None  # it is complete
    return Incumbent(best.number, best.value, best.spec, best.evaluation.accuracy.search_percent)
