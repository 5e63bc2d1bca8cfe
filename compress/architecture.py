"""The shape of a MobileNet-v1: widths, strides, and what follows (parameters, MACs), without TensorFlow.

The base is the course's network for CIFAR-10: a 3x3 stem, 13 depthwise-separable blocks, 2x2 average pooling,
a dense layer. Everything the search builds is that network with fewer channels, fewer blocks or a larger stem
stride.
"""

from dataclasses import dataclass

from compress.errors import UsageError

IMAGE_SIZE = 32
CLASSES = 10


@dataclass(frozen=True)
class Block:
    """A depthwise 3x3 convolution (stride `stride`) and a pointwise convolution to `width` channels."""

    width: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """A stem and its blocks; every width at least 1.

    Raises UsageError for a width below 1, or a stride that is not 1, 2 or 4.
    """

    stem_width: int
    stem_stride: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        for width in (self.stem_width, *(block.width for block in self.blocks)):
            if width < 1:
                raise UsageError(f"a layer needs at least 1 channel, got {width}")
        for stride in (self.stem_stride, *(block.stride for block in self.blocks)):
            if stride not in (1, 2, 4):
                raise UsageError(f"a stride must be 1, 2 or 4, got {stride}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of the stem and of each block's pointwise convolution."""
        return (self.stem_width, *(block.width for block in self.blocks))

    @property
    def final_size(self) -> int:
        """Height and width of the last feature map, which the average pooling covers whole."""
        size = -(-IMAGE_SIZE // self.stem_stride)
        for block in self.blocks:
            size = -(-size // block.stride)
        return size

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Height (which is the width) and channels of what each convolution puts out: the stem, then two a block."""
        size, channels = -(-IMAGE_SIZE // self.stem_stride), self.stem_width
        found = [(size, channels)]
        for block in self.blocks:
            size = -(-size // block.stride)
            found += [(size, channels), (size, block.width)]
            channels = block.width
        return tuple(found)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions and the dense layer for one image."""
        size = -(-IMAGE_SIZE // self.stem_stride)
        total, channels = size * size * 27 * self.stem_width, self.stem_width
        for block in self.blocks:
            size = -(-size // block.stride)
            total += size * size * channels * (9 + block.width)
            channels = block.width
        return total + channels * CLASSES

    @property
    def parameters(self) -> int:
        """Trainable parameters: kernels, BatchNorm scale and offset, dense bias."""
        total, channels = 27 * self.stem_width + 2 * self.stem_width, self.stem_width
        for block in self.blocks:
            total += channels * (9 + 2) + channels * block.width + 2 * block.width
            channels = block.width
        return total + (channels + 1) * CLASSES


BASE = Architecture(
    stem_width=32,
    stem_stride=1,
    blocks=tuple(
        Block(width, stride)
        for width, stride in zip(
            (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024),
            (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
            strict=True,
        )
    ),
)
