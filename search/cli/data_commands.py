"""The commands about images and the unpruned base: `data`, `pretrain`, `import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.console import make_console, print_json
from search.cli.options import Data, Json, Test

if TYPE_CHECKING:
    from compress.training.train import Epoch

data_commands = typer.Typer()
Dataset = Annotated[str, typer.Argument(metavar="DATA", help="cifar10, digits or the path of an .npz.")]


@data_commands.command(epilog="Example: thrones data --data ~/cifar-10-batches-py")
def data(name: Dataset = "cifar10", data: Data = None, test: Test = None, as_json: Json = False) -> None:
    """Show where CIFAR-10 was looked for, what was found, and how the images are split."""
    from compress.datasets.cifar10 import places
    from search.candidate.inputs.resolve_dataset import resolve_dataset

    looked = places(data) if name == "cifar10" else []
    if not as_json:  # before `find`, so that the places are shown where it fails
        for what, path, is_there in looked:
            typer.echo(f"{'found  ' if is_there else 'nothing'}  {what}: {path}")
    found = resolve_dataset(name, data, test)
    images = found.data
    counts = {"train": len(images.train[0]), "validation": len(images.validation[0]), "test": len(images.test[0])}
    if as_json:
        rows = [{"place": what, "path": str(path), "found": is_there} for what, path, is_there in looked]
        print_json(
            {"looked": rows, "data": images.name, "source": images.source, "key": images.key, "images": counts}
        )
        return
    typer.echo(found)
    typer.echo(", ".join(f"{count:,} {part}" for part, count in counts.items()) + f" images; key {images.key}")


@data_commands.command(epilog="Example: thrones pretrain --data ~/cifar-10-batches-py --out mine.npz")
def pretrain(
    name: Dataset = "cifar10",
    data: Data = None,
    out: Annotated[
        Path, typer.Option("--out", help="The file for the weights; a .json is written beside it.")
    ] = Path("base.npz"),
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Train the unpruned base from scratch. After a kill, the same command resumes after the last whole epoch.

    On CIFAR-10 this takes an hour or two on two cores.
    """
    from compress.training.pretrain import cycles_for
    from compress.training.pretrain import pretrain as train_base
    from search.candidate.inputs.resolve_dataset import resolve_dataset
    from search.progress import Progress

    console = make_console()
    images = resolve_dataset(name, data).data
    cycles = cycles_for(images)
    epochs = sum(cycle.epochs for cycle in cycles)
    console.print(f"training the base on {images.name} from {images.source}: {epochs} epochs", soft_wrap=True)
    with Progress(console, 0) as progress:

        def show(epoch: "Epoch") -> None:
            progress.line(f"epoch {epoch.number:3d}/{epochs}  loss {epoch.loss:.3f}  {epoch.accuracy:.2f} %")
            progress.phase(f"epoch {epoch.number + 1}/{epochs}")

        result = train_base(images, out, cycles, seed, show)
    console.print(
        f"{out}: {result.test_accuracy:.2f} % on {len(images.test[0]):,} test images, "
        f"{result.validation_accuracy:.2f} % on the validation images, {result.seconds / 60:.0f} minutes",
        soft_wrap=True,
    )


@data_commands.command("import", epilog="Example: thrones import mbnv1_tf.ckpt --out mine.npz")
def import_base(
    source: Annotated[
        Path, typer.Argument(metavar="NETWORK", help="A TensorFlow checkpoint (mbnv1_tf.ckpt), .keras or .h5.")
    ],
    data: Data = None,
    test: Test = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The file for the base; a .json is written beside it. Default: NETWORK's name with .npz."
        ),
    ] = None,
    pixels: Annotated[
        str, typer.Option("--pixels", help="The input scaling of its training: raw 0..255, or unit (images / 255).")
    ] = "raw",
) -> None:
    """Make your own MobileNet-v1, trained as in the course, the base of your studies.

    Every tensor is checked, and the accuracy is measured. --pixels unit builds the division by 255 into the network.
    """
    from search.candidate.inputs.resolve_dataset import resolve_dataset
    from search.progress import Progress

    console = make_console()
    images = resolve_dataset("cifar10", data, test).data
    with Progress(console, 0) as progress:
        from search.candidate.inputs.import_base import import_base as make_base

        path, about = make_base(source, out, images, pixels, progress.phase)
    if about.pixels == "unit":
        console.print("the division by 255 is built in: the base takes raw 0..255 and answers the same", soft_wrap=True)
    console.print(
        f"{path}: {about.test_accuracy:.2f} % of {len(images.test[0]):,} test images, "
        f"{about.validation_accuracy:.2f} % of the validation images",
        soft_wrap=True,
    )
    if any(name.endswith(".index") for name in about.files):
        console.print(
            "a checkpoint holds weights alone. If the network was built with another epsilon than 1e-5, or with ReLU6, "
            "its accuracy was different; then import its .keras or .h5, which say so",
            soft_wrap=True,
        )
    if images.rule_percent is not None and about.test_accuracy < images.rule_percent:
        console.print(
            f"the accuracy constraint is {images.rule_percent:g} %: candidates learn from their base; use a better one",
            soft_wrap=True,
        )
    console.print(
        f'next: base = "{path}" at the top of a study file, or thrones run STUDY.toml --base {path}', soft_wrap=True
    )
