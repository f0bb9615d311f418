"""Lengths of time as a person types them: "20s", "5m", "1h", or a number of seconds."""

import re
from typing import Any

import click

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A number of seconds, `least` or more."""

    name = "duration"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no length of time; write it like 20s, 5m or 1h", param, ctx)
        seconds = float(found[1]) * UNITS[found[2]]
        if seconds < self._least:
            self.fail(f"{value!r} is too short: {self._least:g}s is the least", param, ctx)
        return seconds
