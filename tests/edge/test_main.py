"""`python -m edge` as a user starts it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from contracts import make_images
from models import float_model, int8_model
from paths import ROOT

from edge.__main__ import COMMANDS
from edge.measuring.measurement import DEFINITIONS, Measurement
from edge.runtime.tflite import predict


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    images = make_images(50)
    (folder / "float.tflite").write_bytes(float_model())
    (folder / "int8.tflite").write_bytes(int8_model())
    (folder / "cut.tflite").write_bytes(int8_model()[:2000])
    (folder / "text.tflite").write_text("this is no model, only a text file")
    (folder / "noise.npz").write_bytes(b"PK\x03\x04 but no archive")
    labels = predict(int8_model(), images)
    labels[:5] = (labels[:5] + 1) % 10
    np.savez(folder / "test.npz", x=images, y=labels)
    np.savez(folder / "wrong.npz", x=images, y=labels[:3])
    np.savez(folder / "small.npz", x=np.zeros((2, 28, 28), np.uint8))
    np.savez(folder / "nameless.npz", images=images)
    np.savez(folder / "object.npz", x=np.array([object()]))
    np.save(folder / "array.npy", images)
    return folder


def run(folder, *arguments, stdout=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_table_shows_every_figure_with_its_definition(folder):
    done = run(folder, "measure", "float.tflite")
    assert done.returncode in (0, 1), done.stderr
    if done.returncode == 1:
        pytest.skip(f"this machine is not steady enough: {done.stderr}")
    for name, sentence in DEFINITIONS.items():
        assert name in done.stdout
        assert sentence in done.stdout
    assert "accuracy         not measured" in done.stdout
    assert "energy_mj        not measured" in done.stdout


@pytest.mark.slow
def test_json_holds_the_measurement(folder):
    done = run(
        folder, "measure", "int8.tflite", "--json", "--images", "test.npz", "--meter", "estimate://4.8W"
    )
    if done.returncode == 1:
        pytest.skip(f"this machine is not steady enough: {done.stderr}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measurement = Measurement.from_json(json.dumps(found["measurement"]))
    assert measurement.estimated
    assert found["accuracy_percent"] == pytest.approx(90.0)
    assert found["figures"]["latency_ms"] == measurement.latency_ms
    assert found["definitions"] == DEFINITIONS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "command"),
        (["weigh"], "weigh"),
        (["measure"], "MODEL"),
        (["measure", "missing.tflite"], "missing.tflite"),
        (["measure", "int8.tflite", "missing.tflite"], "missing.tflite"),
        (["measure", "."], "directory"),
        (["measure", "text.tflite"], "TFL3"),
        (["measure", "cut.tflite"], "cannot be loaded"),
        (["measure", "int8.tflite", "cut.tflite"], "cut.tflite: model of 2000 bytes cannot be loaded"),
        (["measure", "int8.tflite", "--rounds", "0"], "rounds must be >= 1, got 0"),
        (["measure", "int8.tflite", "--pixels", "bgr"], "no pixels 'bgr'; there are: raw, unit, half, cifar10"),
        (["measure", "int8.tflite", "--threads", "0"], "threads must be >= 1, got 0"),
        (["measure", "int8.tflite", "--threads", "two"], "two"),
        (["measure", "int8.tflite", "--plan", "long"], "long"),
        (["measure", "int8.tflite", "--meter", "estimate://0W"], "estimate://4.8W"),
        (["measure", "int8.tflite", "--images", "missing.npz"], "missing.npz"),
        (["measure", "int8.tflite", "--images", "."], "cannot read"),
        (["measure", "int8.tflite", "--images", "text.tflite"], "text.tflite"),
        (["measure", "int8.tflite", "--images", "noise.npz"], "noise.npz"),
        (["measure", "int8.tflite", "--images", "nameless.npz"], "no array x"),
        (["measure", "int8.tflite", "--images", "object.npz"], "object.npz"),
        (["measure", "int8.tflite", "--images", "array.npy"], "no array x"),
        (["measure", "int8.tflite", "--images", "small.npz"], "uint8 (2, 28, 28)"),
        (["measure", "int8.tflite", "--images", "wrong.npz"], "50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_exits_2_with_one_line(folder, arguments, words):
    done = run(folder, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("edge: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.slow
def test_output_into_a_closed_pipe_is_no_traceback(folder):
    read, write = os.pipe()
    os.close(read)
    done = run(folder, "measure", "float.tflite", stdout=write)
    os.close(write)
    assert "Traceback" not in done.stderr


def test_the_commands_are_listed(folder):
    done = run(folder, "--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_help_gives_an_example(folder):
    done = run(folder, "measure", "--help")
    assert done.returncode == 0
    assert "example: python -m edge measure" in done.stdout
