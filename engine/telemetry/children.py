"""The processes of this one's that hold a stage."""

from collections.abc import Mapping

_stages: dict[int, str] = {}


def children() -> Mapping[int, str]:
    """The processes of this one's that hold a stage now, by their ids, and that stage's name."""
    return dict(_stages)
