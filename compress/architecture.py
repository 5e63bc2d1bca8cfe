"""The shape of a MobileNet-v1: widths and strides, and its parameters and MACs, without TensorFlow.

The base is the course's network for CIFAR-10: a 3x3 stem, 13 depthwise-separable blocks, 2x2 average pooling,
a dense layer. The search builds that network with fewer channels, fewer blocks or a larger stem stride.
"""

import math
from dataclasses import dataclass

from compress.errors import UsageError

IMAGE_SIZE = 32
CLASSES = 10
STEM_KERNEL = 3 * 3 * 3
DEPTHWISE_KERNEL = 3 * 3
NORMALIZATION = 2
"""Trainable parameters of a BatchNorm for each channel: scale and offset."""


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
        size, _ = self.maps[-1]
        return size

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Height (equal to the width) and channels of each convolution's output: the stem, then two per block."""
        size = math.ceil(IMAGE_SIZE / self.stem_stride)
        channels = self.stem_width
        maps = [(size, channels)]
        for block in self.blocks:
            size = math.ceil(size / block.stride)
            maps += [(size, channels), (size, block.width)]
            channels = block.width
        return tuple(maps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions and the dense layer for one image."""
        size, channels = self.maps[0]
        total = size**2 * STEM_KERNEL * channels
        for (size, channels), block in zip(self.maps[1::2], self.blocks, strict=True):
            total += size**2 * channels * (DEPTHWISE_KERNEL + block.width)
        return total + self.widths[-1] * CLASSES

    @property
    def parameters(self) -> int:
        """Trainable parameters: kernels, BatchNorm scale and offset, dense bias."""
        total = (STEM_KERNEL + NORMALIZATION) * self.stem_width
        for channels, block in zip(self.widths, self.blocks, strict=False):
            total += (DEPTHWISE_KERNEL + NORMALIZATION) * channels
            total += (channels + NORMALIZATION) * block.width
        return total + (self.widths[-1] + 1) * CLASSES


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
