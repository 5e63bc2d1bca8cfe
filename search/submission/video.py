"""The video of M1 and M2: a format that the rules allow, and at most four minutes."""

from pathlib import Path

from compress.errors import UsageError, one_line

FORMATS = {".avi": "avi", ".mov": "mov", ".mp4": "mov", ".mpeg": "mpeg", ".mpg": "mpeg", ".wmv": "asf"}
"""File name endings that the rules allow, and a part of the name that FFmpeg gives to what is inside."""
MOST_S = 240.0


def check_video(path: Path) -> float:
    """The video's length in seconds. Raises UsageError when it is missing, no video, of another format, or too long."""
    import av  # takes a moment, and few commands need it

    if path.suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise UsageError(f"{path}: the rules allow {allowed}, not {path.suffix or 'a name without ending'}; convert it")
    if not path.is_file():
        raise UsageError(f"{path} {'is no file' if path.exists() else 'does not exist'}; name the video with --video")
    try:
        with av.open(str(path)) as video:
            inside, length_us, pictures = video.format.name, video.duration, len(video.streams.video)
    except (av.FFmpegError, OSError) as error:
        raise UsageError(f"{path} cannot be played ({one_line(error)}); export it again") from error
    if FORMATS[path.suffix.lower()] not in inside or not pictures:
        what = inside if pictures else "no pictures"
        raise UsageError(f"{path} ends in {path.suffix} but holds {what}; export it again")
    if not length_us:
        raise UsageError(f"{path} does not tell its length; export it again")
    length_s = float(length_us) / 1e6
    if length_s > MOST_S:
        raise UsageError(f"{path} lasts {length_s:.0f} s, the rules allow {MOST_S:.0f} s; cut it")
    return length_s
