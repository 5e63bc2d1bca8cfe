"""Check the video of M1 and M2: a format that the rules allow, and at most four minutes."""

from pathlib import Path

from edge.errors import UsageError, one_line

FORMATS = {".avi": "avi", ".mov": "mov", ".mp4": "mov", ".mpeg": "mpeg", ".mpg": "mpeg", ".wmv": "asf"}
"""File name endings that the rules allow, and a part of FFmpeg's name for the container format."""
MAX_LENGTH_S = 240.0


def check_video(path: Path) -> float:
    """Return the video's length in seconds.

    Raises UsageError when it is missing, no video, of another format, or too long. Messages name the file without its
    folder.
    """
    import av  # takes a moment, and few commands need it

    ending = path.suffix.lower()
    if ending not in FORMATS:
        given = path.suffix or "a name without ending"
        raise UsageError(f"{path.name}: the rules allow {', '.join(FORMATS)}, not {given}", remedy="convert it")
    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}", remedy="name the video with --video")
    try:
        with av.open(str(path)) as video:
            container, length_us, pictures = video.format.name, video.duration, len(video.streams.video)
    except (av.FFmpegError, OSError) as error:
        raise UsageError(f"{path.name} cannot be played ({one_line(error)})", remedy="export it again") from error
    if not pictures:
        raise UsageError(f"{path.name} ends in {path.suffix} but holds no pictures", remedy="export it again")
    if FORMATS[ending] not in container:
        raise UsageError(f"{path.name} ends in {path.suffix} but holds {container}", remedy="export it again")
    if not length_us:
        raise UsageError(f"{path.name} does not say how long it is", remedy="export it again")
    length_s = float(length_us) / 1e6
    if length_s > MAX_LENGTH_S:
        limit = f"{MAX_LENGTH_S:.0f} s"
        raise UsageError(f"{path.name} lasts {length_s:.0f} s, the rules allow {limit}", remedy="cut it")
    return length_s
