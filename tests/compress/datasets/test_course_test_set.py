"""The course's test set, a folder of PNGs: read by index, or refused with the names that are wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.datasets.cifar10 import LABELS
from compress.datasets.course_test_set import read_test_deployment, with_test_deployment
from compress.datasets.load import load
from compress.errors import UsageError

pytest_plugins = ("dataset_files",)
pytestmark = pytest.mark.usefixtures("no_real_data")


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 PNGs, each with its index in its first pixel; tests put back what they change."""
    folder = tmp_path_factory.mktemp("test_deployment")
    image = np.zeros((32, 32, 3), np.uint8)
    for index in range(10_000):
        image[0, 0] = index >> 8, index & 255, 7
        Image.fromarray(image).save(folder / f"{index}_{_label(index)}.png", compress_level=1)
    return folder


def _label(index: int) -> str:
    return LABELS[index * 7 % 10]


@pytest.mark.slow
def test_a_test_deployment_folder_is_read_by_index(deployment: Path) -> None:
    (deployment / ".DS_Store").write_bytes(b"left behind by a Mac")
    digits = load("digits")
    data = with_test_deployment(digits, deployment)
    images, labels = data.test
    assert images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(
        images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1], np.arange(10_000)
    )
    np.testing.assert_array_equal(labels, np.arange(10_000) * 7 % 10)
    assert data.key == digits.key
    assert str(deployment) in data.source


def test_a_wrong_file_in_test_deployment_is_named(deployment: Path, tmp_path: Path) -> None:
    def refused(*parts: str) -> None:
        with pytest.raises(UsageError) as caught:
            read_test_deployment(deployment)
        assert len(str(caught.value).splitlines()) == 1
        for part in parts:
            assert part in str(caught.value)

    third = deployment / f"3_{_label(3)}.png"
    good = third.read_bytes()
    for name in ("notes.txt", "5_lorry.png", "cat_5.png", "x5_cat.png"):
        (deployment / name).write_bytes(good)
        refused(name, "<index>_<label>.png")
        (deployment / name).unlink()
    (deployment / "3_frog.png").write_bytes(good)
    refused("1 is too many: ")
    (deployment / "3_frog.png").unlink()
    for name in ("10000_frog.png", "10007_cat.png", "007_cat.png"):
        (deployment / name).write_bytes(good)
    third.rename(deployment / "third.png")
    refused(
        "1 is missing: 3_<label>.png; 2 are too many: 10000_frog.png, 10007_cat.png; "
        "2 are misnamed: 007_cat.png, third.png"
    )
    (deployment / "third.png").rename(third)
    for name in ("10000_frog.png", "10007_cat.png", "007_cat.png"):
        (deployment / name).unlink()
    for content in (
        b"",
        b"not a PNG",
        good[:40],
        good[: len(good) // 2],
        good[:50] + b"\0\0\0\0" + good[54:],
    ):
        third.write_bytes(content)
        refused(third.name, "no readable PNG")
    Image.new("L", (32, 32)).save(third)
    refused(third.name, "uint8 (32, 32), wanted uint8 (32, 32, 3)")
    third.write_bytes(good)
    with pytest.raises(UsageError, match="nowhere is no folder"):
        read_test_deployment(tmp_path / "nowhere")
