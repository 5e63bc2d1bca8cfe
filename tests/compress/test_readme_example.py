"""The worked example of compress/README.md runs as it is printed there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

PAGE = (ROOT / "compress" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_worked_example_compresses_a_network_for_the_digits(tmp_path: Path) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"624,256 MACs, \d+\.\d % before fine-tuning", lines[0])
    assert sum(line.startswith("Epoch(") for line in lines) == 8
    found = re.fullmatch(r"([\d,]+) bytes, (\d+\.\d) % of the test images", lines[-1])
    assert found, lines[-1]
    assert float(found[2]) > 90
