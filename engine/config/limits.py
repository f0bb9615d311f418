"""The settings of [limits], which hold for a whole run."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from engine.contract.stage import Settings, setting
from engine.telemetry.text import seconds_of


def as_seconds(value: object) -> object:
    """Seconds of a time such as "7d"; any other value as it stands."""
    return seconds_of(value) if isinstance(value, str) and not value.isdigit() else value


class KeyLimits(Settings):
    """The limits of one gate; the common limits hold where it sets none."""

    model_config = ConfigDict(strict=True)

    rate: float | None = setting(
        None, "Items started per second; 0: no limit.", affects_output=False, ge=0
    )
    concurrency: int | None = setting(
        None,
        "Items in work at once; 0: as many as there are workers.",
        affects_output=False,
        ge=0,
    )


class LimitSettings(Settings):
    """Limits of the whole run: hosts, the disk, and the failure budget."""

    rate: float = setting(
        0.0, "Items started per second and host; 0: no limit.", affects_output=False, ge=0
    )
    concurrency: int = setting(
        0,
        "Items in work at once per host; 0: as many as there are workers.",
        affects_output=False,
        ge=0,
    )
    keys: dict[str, KeyLimits] = setting(
        dict,
        "Hosts, or whatever gates go by, with a rate or a concurrency of their own.",
        affects_output=False,
        example={"example.com": {"rate": 0.5, "concurrency": 2}},
    )
    resources: dict[str, Annotated[int, Field(strict=True, gt=0)]] = setting(
        dict,
        "Capacities of what stages need and share, such as a GPU; 1 where nothing is set.",
        affects_output=False,
        example={"cuda:0": 2},
    )
    shared_gates: str | None = setting(
        None,
        "The Redis by which machines keep to one rate together; none: each keeps to its own.",
        affects_output=False,
        needs_trust=True,
        example="redis://127.0.0.1:6379",
    )
    cluster: str | None = setting(
        None,
        'The Ray cluster of steps with placement = "ray"; unset: RAY_ADDRESS, or one of its own.',
        affects_output=False,
        needs_trust=True,
        example="10.0.0.1:6379",
    )
    free_disk: ByteSize = setting(
        "2 GB",
        "Take nothing new while less than this is free on the work folder's disk; 0: never wait.",
        affects_output=False,
    )
    network_folder: bool = setting(
        False,
        "Take a work folder on a network file system, whose locks you trust.",
        affects_output=False,
    )
    sync: bool = setting(
        True,
        "Bring every output to the disk before it counts; false: a power cut may cost the latest.",
        affects_output=False,
    )
    failure_budget: float = setting(
        0.5,
        "Stop the run when more than this share of the items started last failed; 1: never.",
        affects_output=False,
        ge=0,
        le=1,
    )
    failure_window: int = setting(
        50,
        "Latest items that the failure budget looks back on, beside all that are under way.",
        affects_output=False,
        ge=1,
    )
    failure_minimum: int = setting(
        10, "Fewer failures than this never stop a run.", affects_output=False, ge=1
    )
    backoff: float = setting(
        2.0,
        "Seconds before the first retry of an item; each further wait is twice as long.",
        affects_output=False,
        gt=0,
    )
    backoff_cap: float = setting(
        300.0,
        "Seconds that a wait before a retry is never longer than.",
        affects_output=False,
        gt=0,
    )

    ttl: Annotated[float, BeforeValidator(as_seconds)] = setting(
        0.0,
        'Time, such as "7d", after which a worker takes out items that have ended; 0: never.',
        affects_output=False,
        ge=0,
    )
    finish_every: float = setting(
        600.0,
        "Seconds after which a worker that is never idle builds the results of all; 0: never.",
        affects_output=False,
        ge=0,
    )

    @field_validator("shared_gates")
    @classmethod
    def _no_secrets(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        if value is not None and (parts.scheme not in ("redis", "rediss") or not parts.hostname):
            raise ValueError("give an address such as redis://127.0.0.1:6379")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "give the address without user name, password or query: they come from the "
                "environment variables REDIS_USERNAME and REDIS_PASSWORD"
            )
        return value

    @model_validator(mode="after")
    def _budget_can_be_spent(self) -> Self:
        if self.failure_minimum > self.failure_window:
            raise ValueError(
                f"failure_window ({self.failure_window}) has to be at least failure_minimum "
                f"({self.failure_minimum}): so few items never hold so many failures"
            )
        return self
