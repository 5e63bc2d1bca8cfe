"""The course's network as a team brings it: a TensorFlow 2 checkpoint, or a file of Keras 2 or 3.

Every format becomes one dictionary of tensors, named as in the course's checkpoint.
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np

from compress.errors import UsageError, one_line
from compress.importing.keras_files import read_hdf5_file, read_keras_archive
from compress.importing.tensors import Tensors, check_tensors
from compress.network import Weights
from compress.tensorflow_setup import tf

_TENSOR = re.compile(r"(?:^|/)(layer_with_weights-\d+/\w+)/\.ATTRIBUTES/VARIABLE_VALUE$")
# Variables of the training, which a checkpoint holds beside the network's.
_NOT_THE_NETWORKS = re.compile(
    r"(^|/)(_CHECKPOINTABLE_OBJECT_GRAPH|save_counter|optimizer|keras_api|\.OPTIMIZER_SLOT)(/|$)"
)
_PARTS = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_LATEST = re.compile(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Checkpoint:
    """A network as it was brought: its name without endings, its files, its weights in the order of `build(BASE)`."""

    name: str
    files: tuple[Path, ...]
    weights: Weights


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the network at `path`: a checkpoint's prefix, one of its files or its folder; a `.keras` or an `.h5`.

    Raises UsageError when it is missing or damaged, or is not the course's network, tensor by tensor.
    """
    if not path.is_file() or _PARTS.search(path.name) or path.name == "checkpoint":
        return _read_tensorflow(path)
    try:
        path.open("rb").close()  # the checks below take a file that cannot be read for one of another kind
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if zipfile.is_zipfile(path):
        return _read_file(path, read_keras_archive)
    if h5py.is_hdf5(path):
        return _read_file(path, read_hdf5_file)
    raise UsageError(
        f"{path} is damaged, or neither a checkpoint of TensorFlow 2 nor a .keras nor an .h5 file",
        remedy='copy it again, or write it with model.save_weights("mbnv1_tf.ckpt") of Keras 2',
    )


def _read_file(path: Path, read: Callable[[Path], Tensors]) -> Checkpoint:
    try:
        tensors = read(path)
    except UsageError:
        raise
    except Exception as error:  # damage comes as zipfile's, zlib's, h5py's, json's or the system's errors
        raise UsageError(f"{path} is damaged ({one_line(error)})", remedy="copy or save it again") from error
    return Checkpoint(path.stem.removesuffix(".weights"), (path,), check_tensors(str(path), tensors))


def _read_tensorflow(path: Path) -> Checkpoint:
    prefix = _find_prefix(path)
    index, shards = _find_parts(prefix)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        tensors = {}
        for name in sorted(reader.get_variable_to_shape_map()):
            if not _NOT_THE_NETWORKS.search(name):
                tensors[_own_name(name)] = np.asarray(reader.get_tensor(name))
    except Exception as error:  # damage comes as TensorFlow's errors, IndexError or ValueError
        raise UsageError(
            f"{prefix}: a damaged checkpoint ({one_line(error)})", remedy="copy its files again"
        ) from error
    weights = check_tensors(str(prefix), tensors)
    return Checkpoint(prefix.name.removesuffix(".ckpt"), (index, *shards), weights)


def _find_parts(prefix: Path) -> tuple[Path, list[Path]]:
    """Return a checkpoint's index and its data files. Raises UsageError where one of them is missing."""
    index = prefix.with_name(f"{prefix.name}.index")
    shards = sorted(prefix.parent.glob(f"{_escaped(prefix.name)}.data-*-of-*"))
    if not index.is_file() and shards:
        raise UsageError(f"{index} is not there, but {shards[0].name} is", remedy="copy it there")
    if not index.is_file():
        raise UsageError(f"{index} is not there", remedy="name a checkpoint, a .keras or an .h5 file")
    if not shards:
        missing = f"{prefix}.data-00000-of-00001"
        raise UsageError(f"{missing} is not there, but {index.name} is", remedy="copy it there")
    return index, shards


def _find_prefix(path: Path) -> Path:
    """Return the part that the names of a checkpoint's files share; `path`: that part, a file or the folder."""
    if path.name == "checkpoint" and path.is_file():
        path = path.parent
    if not path.is_dir():
        return path.with_name(_PARTS.sub("", path.name))
    names = sorted(index.name.removesuffix(".index") for index in path.glob("*.index"))
    if len(names) > 1:
        names = _latest_of(path, names)
    if not names:
        raise UsageError(f"{path} has no checkpoint", remedy="name its .index")
    if len(names) > 1:
        raise UsageError(f"{path} has the checkpoints {', '.join(names)}", remedy="name one of them")
    return path / names[0]


def _latest_of(folder: Path, names: list[str]) -> list[str]:
    """Return the one that the folder's file `checkpoint` calls the latest, or all where that says nothing."""
    if not (folder / "checkpoint").is_file():
        return names
    # By its last part: its paths are those of the machine that wrote it.
    latest = _LATEST.search((folder / "checkpoint").read_text(encoding="utf-8", errors="replace"))
    if latest and latest[1] in names:
        return [latest[1]]
    return names


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _own_name(name: str) -> str:
    """Return the name without those of objects around the network, as in `tf.train.Checkpoint(model=network)`."""
    match = _TENSOR.search(name)
    return match[1] if match else name
