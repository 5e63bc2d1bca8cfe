"""Ctrl-C at a trial: at once, but never in the middle of a transaction."""

import os
import signal
import time
from pathlib import Path

import optuna
import pytest

from search.adapters.optuna_rdb import is_in_transaction
from search.adapters.optuna_trials import database_of
from search.runner.interrupts import Interrupts
from search.storage.open_storage import open_storage


def test_an_interrupt_waits_for_the_end_of_a_transaction() -> None:
    states = iter([True, True, False])
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: next(states)) as interrupts:
        with interrupts.let_through():
            os.kill(os.getpid(), signal.SIGINT)
            assert next(states)  # it did not interrupt: the first state was asked for, and this is the second
            time.sleep(10)


def test_an_interrupt_outside_of_a_trial_comes_with_the_next_one() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        with interrupts.let_through():
            pytest.fail("it was kept")


def test_a_connection_in_use_is_a_transaction(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))
    study.get_trials()
    assert not is_in_transaction(study)
    with database_of(study).engine.begin():
        assert is_in_transaction(study)
    assert not is_in_transaction(study)
    assert not is_in_transaction(optuna.create_study())
