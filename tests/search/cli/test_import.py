"""A team's own network, in every format that it may have, becomes the base of its studies; anything else is refused."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import squares
from course_network import fitted_network
from networks import same_weights

from compress.architecture import BASE
from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import UsageError
from compress.io import arrays_key
from compress.network import Weights, build, load_weights, save_weights
from compress.training.train import accuracy
from search.candidate.inputs.base_network import base_weights
from search.candidate.inputs.import_base import import_base
from search.runner.study import run_study
from search.storage.cache import Cache
from search.storage.study_record import record_of

DATA = ".data-00000-of-00001"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The coloured squares as `--data squares.npz` names them."""
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    squares.write_images(path)
    return load("cifar10", path)


@pytest.fixture(scope="module")
def network(data: Dataset) -> Any:
    """The 85 layers, random but for the last, which was fitted to the squares, with pixels 0..255."""
    return fitted_network(*data.train)


@pytest.mark.slow
def test_import_writes_the_base_and_what_it_is(data: Dataset, courses: Path, network: Any, tmp_path: Path) -> None:
    path, about = import_base(courses, tmp_path / "new" / "mine.npz", data, "raw", lambda step: None)
    assert path == tmp_path / "new" / "mine.npz"
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.json", "mine.npz"]
    for was, now in zip(network.get_weights(), load_weights(path), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-3, atol=1e-6)
    stored = json.loads(path.with_suffix(".json").read_text())
    assert stored["files"][f"{courses.name}.index"] == sha256(Path(f"{courses}.index").read_bytes()).hexdigest()
    assert stored["command"] == "thrones import mbnv1_tf.ckpt.index"
    assert str(courses.parent) not in path.with_suffix(".json").read_text()
    assert stored["test_accuracy"] == about.test_accuracy
    assert about.test_accuracy == pytest.approx(accuracy(network, *data.test), abs=1.0)
    assert about.test_accuracy > 90


def _rescaled(network: Any, pixels: str) -> Weights:
    """The same network for other pixels: exactly for 0..1, and but for the images' edges for -1..1."""
    kernel, *rest = network.get_weights()
    if pixels == "unit":
        return [kernel * 255, *rest]
    rest[2] = rest[2] - 127.5 * kernel.sum(axis=(0, 1, 2))
    return [kernel * 127.5, *rest]


@pytest.fixture(scope="module")
def scratch() -> Any:
    """The 85 layers, for any weights."""
    return build(BASE)


def _save(network: Any, weights: Weights, prefix: Path) -> Path:
    network.set_weights(weights)
    network.save_weights(prefix)
    return prefix


@pytest.mark.slow
def test_a_network_for_pixels_0_to_1_is_detected_and_made_to_take_0_to_255(
    data: Dataset, network: Any, scratch: Any, tmp_path: Path
) -> None:
    prefix = _save(scratch, _rescaled(network, "unit"), tmp_path / "unit.ckpt")
    out = tmp_path / "unit.npz"
    with pytest.raises(UsageError, match=r"was trained on pixels 0..1: .* give --pixels unit"):
        import_base(prefix, out, data, "raw", lambda step: None)
    assert not out.exists()
    about = import_base(prefix, out, data, "unit", lambda step: None)[1]
    assert about.command == "thrones import unit.ckpt.index --pixels unit"
    assert about.test_accuracy == pytest.approx(accuracy(network, *data.test), abs=1.0)
    images = data.test[0][:20].astype(np.float32)
    scratch.set_weights(load_weights(out))
    np.testing.assert_allclose(scratch(images), network(images), atol=0.05)  # kernels are kept as float16


@pytest.mark.slow
def test_other_pixels_are_named_and_refused(
    data: Dataset, network: Any, scratch: Any, courses: Path, tmp_path: Path
) -> None:
    half = _save(scratch, _rescaled(network, "half"), tmp_path / "half.ckpt")
    with pytest.raises(UsageError, match=r"was trained on pixels -1..1: .*train it again on raw 0..255"):
        import_base(half, tmp_path / "half.npz", data, "raw", lambda step: None)
    with pytest.raises(UsageError, match=r"was trained on pixels 0..255: .*leave out --pixels unit"):
        import_base(courses, tmp_path / "raw.npz", data, "unit", lambda step: None)
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_a_network_that_learnt_nothing_is_refused(data: Dataset, network: Any, scratch: Any, tmp_path: Path) -> None:
    *body, kernel, bias = network.get_weights()
    untaught = _save(scratch, [*body, 0 * kernel, bias], tmp_path / "untaught.ckpt")
    words = "near chance on 30 validation images with every scaling .* % with 0..1, .*train"
    with pytest.raises(UsageError, match=words):
        import_base(untaught, tmp_path / "untaught.npz", data, "raw", lambda step: None)


@pytest.mark.parametrize(
    ("out", "pixels", "message"),
    [
        ("mine.keras", "raw", "--out .*mine.keras must end in .npz"),
        ("mine.npz", "half", "--pixels is raw or unit, got half"),
        ("package.npz", "raw", "package.json is there and not of an import; name another place"),
    ],
)
def test_wrong_options_are_refused(
    out: str, pixels: str, message: str, data: Dataset, courses: Path, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(UsageError, match=message):
        import_base(courses, tmp_path / out, data, pixels, lambda step: None)


def test_base_weights_are_the_own_ones_or_a_clear_line(data: Dataset, network: Any, tmp_path: Path) -> None:
    def own(name: str) -> Weights:
        return base_weights(data, Cache(tmp_path), squares.silent(), str(tmp_path / name))

    weights = network.get_weights()
    save_weights(tmp_path / "mine.npz", weights)
    same_weights(own("mine.npz"), load_weights(tmp_path / "mine.npz"))
    save_weights(tmp_path / "narrow.npz", [weights[0][..., :16], *weights[1:]])
    save_weights(tmp_path / "short.npz", weights[:-1])
    save_weights(tmp_path / "long.npz", [*weights, weights[-1]])
    for name, message in {
        "nowhere.npz": "base .*nowhere.npz: no network weights .*`thrones import` to make them from your own network",
        "narrow.npz": r"base .*narrow.npz is not the course's .*kernel: wanted \(3,3,3,32\), has \(3,3,3,16\)",
        "short.npz": "layer_with_weights-54/bias is missing",
        "long.npz": "array 137 is one too many",
    }.items():
        with pytest.raises(UsageError, match=message):
            own(name)


@pytest.mark.slow
def test_the_command_and_a_study_on_its_base(courses: Path, network: Any, tmp_path: Path) -> None:
    squares.write_images(tmp_path / "squares.npz")
    imported = squares.thrones("import", str(courses), "--data", "squares.npz", folder=tmp_path)
    assert imported.returncode == 0, imported.stderr
    first, note, last = imported.stdout.strip().splitlines()
    assert note.startswith("a checkpoint holds weights alone. If the network was built with another epsilon than 1e-5")
    assert ", or with ReLU6" in note
    assert re.fullmatch(r"mbnv1_tf.npz: \d+\.\d\d % of 100 test images, \d+\.\d\d % of the validation images", first)
    assert last.startswith('next: base = "mbnv1_tf.npz" at the top of a study file, or thrones run')
    study = squares.write_study(tmp_path / "study.toml", squares.HOPELESS, trials=1)
    ran = squares.thrones("run", study.name, "--base", "mbnv1_tf.npz", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    images = load(str(tmp_path / "squares.npz"))

    def again(base: str) -> Any:
        study.write_text(f'base = "{tmp_path / base}"\n{text}')
        return run_study(squares.read(study), images, squares.silent())

    text = study.read_text()
    moved = (tmp_path / "mbnv1_tf.npz").rename(tmp_path / "moved.npz")
    assert record_of(again("moved.npz")).base_key == arrays_key(load_weights(moved))
    save_weights(tmp_path / "other.npz", [weight * 2 for weight in network.get_weights()])
    with pytest.raises(UsageError, match="made with another base"):
        again("other.npz")


@pytest.mark.slow
def test_the_command_ends_with_one_line(copied: Path, tmp_path: Path) -> None:
    squares.write_images(tmp_path / "squares.npz")
    Path(f"{copied}{DATA}").unlink()
    line = squares.refused("import", str(copied), "--data", "squares.npz", folder=tmp_path)
    assert line.endswith("is not there, but mbnv1_tf.ckpt.index is; copy it there")
    assert not list(tmp_path.glob("mbnv1*"))
