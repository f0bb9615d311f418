"""Reading a video's packets into a table: from where, and how far."""

from fractions import Fraction

from stages.media.damage import Damage
from stages.media.packets.scan import scan_video
from stages.media.packets.table import PacketFlag
from tests.stages.clips import make_clip, moving_picture


def test_there_is_no_seek_into_a_video_without_a_clean_entry_point(tmp_path):
    clip = make_clip(
        tmp_path / "clip.mkv",
        [index * 40 for index in range(400)],
        options={"x264-params": "intra-refresh=1:keyint=50"},
        rate=25,
        size=(160, 96),
        picture=moving_picture,
    )
    damage = Damage()

    table = scan_video(clip, damage, start=Fraction(12))

    assert table.seek is None
    assert table.first_needed(Fraction(12)) == 0
    assert sum(1 for flag in table.flags if flag & PacketFlag.KEYFRAME) > 1


def test_reading_stops_where_the_wanted_part_ends(data):
    path = data / "video/intel_bottle-detection.mp4"

    assert not scan_video(path, Damage(), end=Fraction(2)).complete
    assert len(scan_video(path, Damage(), end=Fraction(2)).times) < 80
    assert scan_video(path, Damage()).complete


def test_the_end_is_found_where_the_header_does_not_say(data):
    table = scan_video(data / "edge/moviepy_no_duration.webm", Damage())

    assert table.declared_duration is None
    assert table.end() == Fraction(4872 + 66, 1000)
