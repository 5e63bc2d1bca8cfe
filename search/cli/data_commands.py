"""The command `import`: a team's own network becomes the base of its studies."""

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import Data, Test

import_app = typer.Typer()


@import_app.command("import", epilog="Example: thrones import mbnv1_tf.ckpt --out mine.npz")
def import_base(
    source: Annotated[
        Path, typer.Argument(metavar="NETWORK", help="A TensorFlow checkpoint (mbnv1_tf.ckpt), .keras or .h5.")
    ],
    data: Data = None,
    test: Test = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the base goes; .json beside it. Else NETWORK's name with .npz.")
    ] = None,
    pixels: Annotated[
        str, typer.Option("--pixels", help="What it was trained on: raw 0..255, or unit (images / 255).")
    ] = "raw",
) -> None:
    """Make your own MobileNet-v1, trained as in the course, the base of your studies.

    It is checked tensor by tensor, and its accuracy is taken. With --pixels unit the division by 255 is built in.
    """
    from rich.console import Console

    from search.candidate.resolve_dataset import find
    from search.progress import Progress

    console = Console(highlight=False, markup=False)
    images = find("cifar10", data, test).data
    with Progress(console, 0) as progress:
        from search.candidate.import_base import import_base as make_base

        path, about = make_base(source, out, images, pixels, progress.phase)
    if about.pixels == "unit":
        console.print("the division by 255 is built in: it takes raw 0..255 now, and gives the same", soft_wrap=True)
    console.print(
        f"{path}: {about.test_accuracy:.2f} % of {len(images.test[0]):,} test images, "
        f"{about.validation_accuracy:.2f} % of the validation images",
        soft_wrap=True,
    )
    if any(name.endswith(".index") for name in about.files):
        console.print(
            "a checkpoint holds weights alone: built with another epsilon than 1e-5, or with ReLU6, the network had "
            "another accuracy; then import its .keras or .h5, which tell",
            soft_wrap=True,
        )
    if images.rule_percent is not None and about.test_accuracy < images.rule_percent:
        console.print(
            f"the rule asks for {images.rule_percent:g} %: candidates learn from their base, a better one helps",
            soft_wrap=True,
        )
    console.print(
        f'next: base = "{path}" at the top of a study file, or thrones run STUDY.toml --base {path}', soft_wrap=True
    )
