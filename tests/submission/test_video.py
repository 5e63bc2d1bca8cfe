"""The video of M1 and M2: what the rules allow, and nothing else."""

from pathlib import Path

import pytest
from videos import write_video

from compress.errors import UsageError
from search.submission.video import check_video


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.wmv", "wmv2"), ("a.mpeg", "mpeg1video")],
)
def test_each_format_of_the_rules_is_taken(name: str, codec: str, tmp_path: Path) -> None:
    assert 0 < check_video(write_video(tmp_path / name, 3, codec)) <= 3.1


def test_a_video_too_long_of_another_format_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lasts 250 s, the rules allow 240 s"):
        check_video(write_video(tmp_path / "long.wmv", 250, "wmv2"))
    film = write_video(tmp_path / "film.avi", 2)
    with pytest.raises(UsageError, match=r"ends in .mp4 but holds avi"):
        check_video(film.rename(tmp_path / "film.mp4"))
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(UsageError, match="cannot be played"):
        check_video(tmp_path / "text.mp4")
    with pytest.raises(UsageError, match=r"the rules allow .avi.*, not .gif"):
        check_video(tmp_path / "film.gif")
    with pytest.raises(UsageError, match="does not exist"):
        check_video(tmp_path / "none.mp4")
