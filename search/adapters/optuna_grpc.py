"""Optuna's gRPC proxy, with the heartbeat that its protocol has no call for: an attribute of the trial."""

import socket
import time
import warnings
from collections.abc import Callable
from contextlib import suppress

import grpc
import optuna
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import TrialState

from search.adapters.optuna_rdb import GRACE_S, HEARTBEAT_S, OnStale

BEAT = "thrones:alive_s"
CONNECTION_ERRORS: tuple[type[Exception], ...] = (grpc.RpcError,)


class Proxy(optuna.storages.GrpcStorageProxy, BaseHeartbeat):
    """A storage behind a proxy, whose trials are failed when their worker falls silent."""

    def __init__(self, host: str, port: int, on_stale: OnStale | None) -> None:
        super().__init__(host=host, port=port)
        self._on_stale = on_stale
        self._beats: dict[int, tuple[float | None, float]] = {}  # trial -> its last beat, and when it was first seen

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial's worker is alive; where nobody hears it, the next time will do."""
        with suppress(grpc.RpcError, optuna.exceptions.UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, BEAT, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Return the trials whose beat has not changed for GRACE_S by this host's clock; other clocks may differ."""
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        now_s = time.monotonic()
        before = self._beats
        self._beats = {}
        for trial in running:
            beat = trial.system_attrs.get(BEAT)
            seen_beat, since_s = before.get(trial._trial_id, (None, now_s))
            if trial._trial_id not in before or seen_beat != beat:
                since_s = now_s
            self._beats[trial._trial_id] = beat, since_s
        return [trial_id for trial_id, (_, since_s) in self._beats.items() if now_s - since_s > GRACE_S]

    def get_heartbeat_interval(self) -> int:
        """Return the seconds between two heartbeats."""
        return HEARTBEAT_S

    def get_heartbeat_stale_trial_callback(self) -> OnStale | None:
        """Return who hears of a trial whose worker fell silent."""
        return self._on_stale


def is_answering(host: str, port: int, max_answer_s: float) -> bool:
    """Return True where a proxy answers within this time."""
    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=max_answer_s)
    except grpc.FutureTimeoutError:
        return False
    finally:
        channel.close()
    return True


def serve(storage: optuna.storages.BaseStorage, host: str, port: int, on_start: Callable[[], object]) -> None:
    """Be a proxy in front of a storage until the process is stopped. Raises OSError where the port is taken."""
    with socket.socket() as probe:  # gRPC mentions a port in use in its own log alone
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    on_start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.storages.run_grpc_proxy_server(storage, host=host, port=port)
