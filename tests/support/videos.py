"""Films for the tests of what a team hands in."""

from pathlib import Path

import av
import numpy as np


def write_video(path: Path, seconds: int, codec: str = "mpeg4") -> Path:
    """A black film."""
    with av.open(str(path), "w") as container:
        rate = 25 if codec.startswith("mpeg") else 1  # MPEG knows no other
        stream = container.add_stream(codec, rate=rate)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(seconds * rate):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
