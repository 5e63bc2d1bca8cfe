"""How often a faster architecture is given up all the same: `make turns`, on this host, with whatever runs on it.

Two of the winners in studies/results are measured again and again: each alone for a second, as the search did at first,
and both in turns, as it does now. Each line of studies/results/turns.jsonl is one such round, times in microseconds;
`report` reads it and prints the shares of wrong verdicts. --minutes, --busy N: N processes that compute beside it.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from paths import RESULTS

from edge.devices.local import LocalDevice
from edge.measuring.measurement import Measurement
from edge.measuring.plan import PLANS
from search.candidate.measure_candidate import turns_plan
from search.objective import Objective
from search.strategy.turns_verdict import Verdict, advantages, judge

CANDIDATE, REFERENCE = "fom", "energy"
Round = dict[str, Any]


def record(path: Path, minutes: float, busy: int) -> None:
    """Write rounds until the time is over."""
    models = [(RESULTS / road / "model.tflite").read_bytes() for road in (CANDIDATE, REFERENCE)]
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    alone = PLANS["search"]
    device, until = LocalDevice(), time.monotonic() + minutes * 60
    beside = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(busy)]
    for process in beside:
        process.start()
    with path.open("a") as file:
        while time.monotonic() < until:
            singly = [device.measure(model, alone, images) for model in models]
            together = device.measure_in_turns(models, turns_plan(alone), images)
            line = {
                "load": round(os.getloadavg()[0], 2),
                "alone": [_means(each) for each in singly],
                "turns": [_medians(each) for each in together],
            }
            file.write(json.dumps(line) + "\n")
            file.flush()
    for process in beside:
        process.kill()


def report(rounds: list[Round], faster: float = 0.9) -> dict[str, float]:
    """Shares of verdicts that are wrong about a candidate that takes `faster` of the reference's time.

    The candidate's times are scaled so that it does: what it really takes is the median over all rounds.
    """
    ratio = median(own / theirs for each in rounds for own, theirs in zip(*each["turns"], strict=True))
    scale = faster / ratio
    singly = [[median(windows) for windows in each["alone"]] for each in rounds]
    before = [scale * own >= theirs for own, _ in singly for _, theirs in singly]
    now = [_verdict(rounds, at, scale) is Verdict.CANNOT_WIN for at in range(len(rounds))]
    return {
        "rounds": len(rounds),
        "candidate / reference": round(ratio, 4),
        "one second each, wrong [%]": round(100 * sum(before) / len(before), 2),
        "in turns, wrong [%]": round(100 * sum(now) / len(now), 2),
    }


def _verdict(rounds: list[Round], at: int, scale: float) -> Verdict:
    """What the search would say that begins at this round and takes the next ones where it needs them."""
    found: list[list[float]] = []
    while True:
        own, theirs = rounds[(at + len(found)) % len(rounds)]["turns"]
        found.append([reference / (scale * candidate) for candidate, reference in zip(own, theirs, strict=True)])
        verdict, _ = judge(found)
        if verdict is not Verdict.NEAR:
            return verdict


def read_rounds(path: Path) -> list[Round]:
    """The recorded rounds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def _means(measurement: Measurement) -> list[float]:
    return [round(window.mean_ms * 1e3, 2) for window in measurement.windows]


def _medians(measurement: Measurement) -> list[float]:
    assert advantages(Objective.LATENCY, measurement, measurement, 100.0) == [1.0] * len(measurement.windows)
    return [round(window.p50_ms * 1e3, 2) for window in measurement.windows]


def _compute() -> None:
    while True:
        np.linalg.svd(np.random.default_rng(0).normal(size=(300, 300)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0.0, help="record for so long; 0: only report")
    parser.add_argument("--busy", type=int, default=2, help="processes that compute beside it")
    parser.add_argument("--file", type=Path, default=RESULTS / "turns.jsonl")
    given = parser.parse_args()
    if given.minutes > 0:
        record(given.file, given.minutes, given.busy)
    print(json.dumps(report(read_rounds(given.file)), indent=1))
