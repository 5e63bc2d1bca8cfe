"""What is recorded of a study is what is read of it, through a real database that is opened anew."""

from pathlib import Path

import optuna
import pytest
from record_factories import Attributes, begin_as_version_1, measured

from compress.errors import UsageError
from search.storage.open_storage import open_storage
from search.storage.study_record import (
    SCHEMA_VERSION,
    ComparedModel,
    FinalComparison,
    Place,
    StudyFacts,
    StudyRecord,
    check_schema,
    place_attributes,
    read_study,
    record_beginning,
    record_comparison,
    record_of,
    record_place,
    record_run,
)

FINGERPRINT = {"base": "0123456789abcdef", "kind of device": {"cpu": "A CPU"}, "seed": 0}
FACTS = StudyFacts(
    data="cifar10",
    data_source="/data",
    constraint_percent=70.0,
    required_percent=71.5875,
    decision_images=3_000,
    test_images=10_000,
    tie_tolerance=0.02,
    environment={"host": "pi", "clock_mhz": None},
)
BASE = ComparedModel(measured(0.9), 90.8)


class Stored:
    """A study in a file. `read` opens it anew, as another process does."""

    def __init__(self, path: Path) -> None:
        self._url = f"sqlite:///{path}"
        self.study = optuna.create_study(study_name="stored", storage=open_storage(self._url))

    def open(self) -> optuna.Study:
        """Return the study of the file."""
        return optuna.load_study(study_name="stored", storage=open_storage(self._url))

    def read(self) -> StudyRecord:
        """Return the record of the file."""
        found = read_study(self.open())
        assert found is not None
        return found


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "study.db")


def test_a_study_that_nobody_has_begun_has_no_record(stored: Stored) -> None:
    assert read_study(stored.open()) is None
    assert record_of(stored.open()) == StudyRecord(fingerprint={})
    assert record_of(stored.open()).base_key is None


def test_its_beginning(stored: Stored) -> None:
    record_beginning(stored.study, FINGERPRINT, FACTS)
    assert stored.read() == StudyRecord(FINGERPRINT, FACTS)
    assert stored.read().base_key == "0123456789abcdef"
    assert record_of(stored.open()) == stored.read()


def test_a_beginning_that_was_cut_off_is_none(monkeypatch: pytest.MonkeyPatch, stored: Stored) -> None:
    """Whatever write of it is the last one."""
    whole = Attributes()
    record_beginning(whole, FINGERPRINT, FACTS)  # type: ignore[arg-type]  # it takes what a study takes
    for key, value in list(whole.items())[:-1]:
        stored.study.set_user_attr(key, value)
        assert read_study(stored.open()) is None
    record_beginning(stored.study, FINGERPRINT, FACTS)
    assert stored.read() == StudyRecord(FINGERPRINT, FACTS)


def test_its_run_and_the_next_one(stored: Stored) -> None:
    record_beginning(stored.study, FINGERPRINT, FACTS)
    for version, deadline_s in (("0.2.0", 1_700_000_000.5), ("0.2.1", 1_700_000_360.25)):
        record_run(stored.study, version, deadline_s)
        assert (stored.read().version, stored.read().deadline_s) == (version, deadline_s)
    assert stored.read().facts == FACTS


@pytest.mark.parametrize("place", [Place("/runs/x/artifacts", "pi", "probe-1"), Place("s3://models", None, "probe-2")])
def test_the_place_of_its_artifacts(stored: Stored, place: Place) -> None:
    record_beginning(stored.study, FINGERPRINT, FACTS)
    record_place(stored.study, place)
    assert stored.read().artifacts == place
    assert place_attributes(place).items() <= stored.open().user_attrs.items()


@pytest.mark.parametrize(
    "comparison",
    [
        FinalComparison(3, BASE, ComparedModel(measured(0.006), 71.0), {3: 0.006, 12: 0.007}),
        FinalComparison(None, BASE, None, {}),
    ],
    ids=["a best", "none"],
)
def test_the_final_comparison(stored: Stored, comparison: FinalComparison) -> None:
    record_beginning(stored.study, FINGERPRINT, FACTS)
    record_comparison(stored.study, comparison)
    assert stored.read().final_comparison == comparison


def test_a_study_of_the_former_schema_is_refused_in_one_line(stored: Stored) -> None:
    begin_as_version_1(stored.study)
    words = "study 'stored' has schema 1, this thrones reads schema 2; rename the study file"
    for read in (read_study, record_of, check_schema):
        with pytest.raises(UsageError, match=words) as caught:
            read(stored.open())
        assert "\n" not in str(caught.value)


def test_a_study_of_a_later_schema_is_refused(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("search.storage.study_record.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        record_beginning(stored.study, FINGERPRINT, FACTS)
    with pytest.raises(UsageError, match="has schema 3, this thrones reads schema 2; .*use the thrones that wrote it"):
        read_study(stored.open())
