"""Long experiments, two at a time, each on one core."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable


def run_in_pairs(script: str, arguments: Iterable[list[str]]) -> None:
    """Run the script once with each of these arguments, two processes at a time, until all have ended."""
    waiting = list(arguments)
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < 2:
            command = [sys.executable, script, *waiting.pop(0)]
            running.append(subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}))
        time.sleep(1)
        running = [process for process in running if process.poll() is None]
