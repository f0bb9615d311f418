"""Where a video begins on its container's clock."""

from fractions import Fraction
from pathlib import Path

from engine import Permanent
from stages.media.damage import Damage
from stages.media.packets.scan import scan_video


def beginning(path: Path) -> Fraction:
    """The second of the first frame shown, on the container's clock; 0 where no video says."""
    try:
        table = scan_video(path, Damage(), end=Fraction(1))
    except Permanent:
        return Fraction(0)
    return (table.origin or 0) * table.time_base
