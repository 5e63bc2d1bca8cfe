"""The search space: what it holds comes back from its parameters, what it does not hold is refused by name."""

from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.errors import UsageError
from compress.spec import PRUNED_LAYERS, CompressionSpec
from search.config import StudyConfig
from search.config_sections import Space
from search.evaluation import EndReason, Rejected
from search.strategy.search_space import params, suggest, suggest_spec

RATE = 0.05
WIDE = Space(
    pruning_ratio=(0.0, 0.95),
    round_to=[1, 8],
    stem_stride=[1, 2, 4],
    epochs=(0, 20),
    distill_weight=(0.0, 0.9),
    quantization=["float32", "float16", "dynamic", "int8", "int16x8", "qat_int8"],
    io_dtype="uint8",
    threads=[1, 2],
)
NARROW = Space(
    pruning_ratio=(0.1, 0.3), stem_stride=[2], epochs=(3, 3), distill_weight=(0.0, 0.0), quantization=["int8"]
)
WHOLE = WIDE.model_copy(update={"drop_blocks": False})
ONE_VALUE = WIDE.model_copy(update={"pruning_ratio": (0.3, 0.3)})
SHORT = WIDE.model_copy(update={"pruning_ratio": (0.3, 0.32)})
SPACES = {"wide": WIDE, "narrow": NARROW, "no drops": WHOLE, "one value": ONE_VALUE, "short": SHORT}


@st.composite
def specs(draw: st.DrawFn, space: Space) -> CompressionSpec:
    """Any specification of the space; a dropped block has the pruning ratio 0, whatever it is called elsewhere."""
    low, high = space.pruning_ratio
    ratios = draw(st.lists(st.floats(low, high), min_size=PRUNED_LAYERS, max_size=PRUNED_LAYERS))
    dropped = draw(st.sets(st.integers(0, 12), max_size=12)) if space.drop_blocks else set()
    quantization = draw(st.sampled_from(space.quantization))
    return CompressionSpec(
        pruning_ratios=tuple(0.0 if n - 1 in dropped else ratio for n, ratio in enumerate(ratios)),
        round_to=draw(st.sampled_from(space.round_to)),
        dropped_blocks=tuple(sorted(dropped)),
        stem_stride=draw(st.sampled_from(space.stem_stride)),
        epochs=draw(st.integers(*space.epochs)),
        learning_rate=RATE,
        distill_weight=draw(st.integers(*(round(end * 10) for end in space.distill_weight))) / 10,
        quantization=quantization,
        io_dtype=space.io_dtype if quantization in ("int8", "qat_int8") else "float32",
        threads=draw(st.sampled_from(space.threads)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@given(data=st.data())
def test_a_specification_of_the_space_comes_back(space: Space, data: st.DataObject) -> None:
    spec = data.draw(specs(space))
    trial = optuna.trial.FixedTrial(params(spec, space))
    assert suggest(trial, space, RATE) == spec  # type: ignore[arg-type]  # a FixedTrial does as a Trial
    for name, distribution in trial.distributions.items():
        assert distribution._contains(distribution.to_internal_repr(trial.params[name])), name


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_whatever_a_sampler_chooses_is_a_specification_of_the_space(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    low, high = space.pruning_ratio
    for _ in range(100):
        trial = study.ask()
        spec = suggest(trial, space, RATE)
        assert params(spec, space).keys() == trial.params.keys()
        kept = [spec.pruning_ratios[0], *(spec.pruning_ratios[block + 1] for block in spec.kept_blocks)]
        assert all(low <= ratio <= high for ratio in kept)
        assert suggest(optuna.trial.FixedTrial(params(spec, space)), space, RATE) == spec  # type: ignore[arg-type]


@pytest.mark.parametrize("low_high", [(0.0, 0.95), (0.3, 0.4), (0.3, 0.32), (0.3, 0.3 + 1e-9), (0.3, 0.3), (0.0, 0.0)])
def test_a_block_stays_as_often_as_it_goes_however_short_the_range(low_high: tuple[float, float]) -> None:
    space = WIDE.model_copy(update={"pruning_ratio": low_high})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    stayed = [len(suggest(study.ask(), space, RATE).kept_blocks) for _ in range(200)]
    assert sum(stayed) / (13 * len(stayed)) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("low_high", [(0.0, 0.95), (0.1, 0.3), (0.2, 0.3), (0.7, 0.8), (0.8, 0.9)])
def test_stored_studies_replay_to_the_last_bit(low_high: tuple[float, float]) -> None:
    low, high = low_high
    study = optuna.create_study()
    trial = study.ask()
    spec = suggest(trial, WIDE.model_copy(update={"pruning_ratio": low_high}), RATE)
    stored = optuna.distributions.FloatDistribution(low, high + max(high - low, 0.1))
    assert trial.distributions["prune_block0"] == stored
    values = [trial.params[f"prune_block{block}"] for block in range(13)]
    assert spec.pruning_ratios[1:] == tuple(value if value <= high else 0.0 for value in values)


def test_dropping_every_block_is_refused() -> None:
    trial = optuna.trial.FixedTrial({**params(CompressionSpec(), WIDE), **{f"prune_block{n}": 1.5 for n in range(13)}})
    with pytest.raises(UsageError, match="all 13 blocks are dropped"):
        suggest(trial, WIDE, RATE)  # type: ignore[arg-type]
    config = StudyConfig(name="test", road="latency", space=WIDE)
    with pytest.raises(Rejected, match="no network: all 13 blocks are dropped") as caught:  # a sampler may choose it
        suggest_spec(trial, config)  # type: ignore[arg-type]
    assert caught.value.rejection.reason is EndReason.NO_NETWORK
    assert caught.value.rejection.predicted_violation is None


FITS = CompressionSpec(pruning_ratios=(0.2,) * 14, stem_stride=2, epochs=3, quantization="int8", io_dtype="int8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"pruning_ratios": (0.2,) * 13 + (0.35,)},
            "pruning ratio 0.35 is outside the space's 0.1..0.3; widen pruning_ratio",
        ),
        ({"pruning_ratios": (0.05,) + (0.2,) * 13}, "pruning ratio 0.05 is outside"),
        ({"epochs": 4}, "epochs 4 is outside 3..3; widen epochs"),
        ({"distill_weight": 0.5}, "distill_weight 0.5 is outside 0.0..0.0; widen distill_weight"),
        ({"stem_stride": 1}, r"stem_stride 1 is not among \[2\]; add it to stem_stride"),
        ({"quantization": "float32", "io_dtype": "float32"}, "quantization float32 is not among"),
        ({"round_to": 4}, "round_to 4 is not among"),
        ({"threads": 2}, "threads 2 is not among"),
    ],
)
def test_what_the_space_does_not_hold_is_refused_by_name(changes: dict[str, object], words: str) -> None:
    assert params(FITS, NARROW)
    with pytest.raises(UsageError, match=words):
        params(replace(FITS, **changes), NARROW)  # type: ignore[arg-type]  # a test's shorthand


def test_other_refusals() -> None:
    with pytest.raises(UsageError, match=r"blocks \[3\] are dropped; set drop_blocks = true"):
        params(CompressionSpec(dropped_blocks=(3,)), WHOLE)
    with pytest.raises(UsageError, match=r"distill_weight 0.25 is no multiple of 0.1"):
        params(CompressionSpec(distill_weight=0.25), WIDE)
