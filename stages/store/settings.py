"""The settings of steps that put files into an object store, and its keys."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import ConfigDict, field_validator

import engine
from engine import UsageError, setting
from stages.store.place import Kind, StorePlace

KEYS: Mapping[Kind, Mapping[str, str]] = {
    "s3": {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"},
    "az": {"account_key": "AZURE_STORAGE_ACCOUNT_KEY"},
    "gs": {"application_credentials": "GOOGLE_APPLICATION_CREDENTIALS"},
}
"""What each kind of store is opened with, and the environment variable that holds it."""

SESSION = "AWS_SESSION_TOKEN"
"""Beside the two keys, where these are for a while only."""


class UploadSettings(engine.Settings):
    # A key pasted into the wrong setting is not repeated in the error.
    model_config = ConfigDict(hide_input_in_errors=True)

    url: str | None = setting(
        None,
        "Where files are put: s3://BUCKET/FOLDER, gs://… or az://ACCOUNT/CONTAINER/FOLDER; none: "
        "nowhere. Keys come from the environment.",
        needs_trust=True,
        example="s3://videos/recipes",
    )
    endpoint: str | None = setting(
        None,
        "The server that has the bucket, such as Supabase's, MinIO's or R2's; none: the cloud's "
        "own.",
        needs_trust=True,
        example="https://PROJECT.storage.supabase.co/storage/v1/s3",
    )
    region: str = setting(
        "us-east-1",
        'The region of an S3 bucket; "auto" for R2.',
        affects_output=False,
        pattern=r"^[a-z0-9-]+$",
    )
    public_url: str | None = setting(
        None,
        "The address under which all may read the folder of `url`; none: links are signed.",
        example="https://PROJECT.supabase.co/storage/v1/object/public/videos/recipes",
    )
    link_days: float = setting(7.0, "Days for which a signed link holds.", gt=0, le=7)
    streams: int = setting(
        4,
        "Uploads to one store at once, over all steps; small files go before pieces of large ones.",
        affects_output=False,
        gt=0,
    )
    request_timeout: float = setting(
        120.0,
        "Seconds that one request may take: a small file, or 6 MB of a large one.",
        affects_output=False,
        gt=0,
    )

    @field_validator("url")
    @classmethod
    def _a_place(cls, value: str | None) -> str | None:
        if value is not None:
            StorePlace.of(value)
        return value

    @field_validator("endpoint", "public_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an address such as https://host/path")
        if parts.query or parts.username or parts.password:
            raise ValueError(
                "give the address without key, user name or query; keys come from the environment"
            )
        return value.rstrip("/")

    @property
    def host(self) -> str | None:
        """The host that is asked; None where nothing is uploaded."""
        if self.url is None:
            return None
        return StorePlace.of(self.url).host(self.endpoint, self.region)


def read_keys(place: StorePlace) -> dict[str, str]:
    """What the store is opened with, from the environment. Raises UsageError, which names the
    variable that is missing."""
    keys = {}
    for name, variable in KEYS[place.kind].items():
        keys[name] = os.environ.get(variable, "").strip()
        if not keys[name]:
            raise UsageError(
                f"{place.address('')} needs a key: put it into the environment variable "
                f"{variable}, or leave `url` unset to upload nothing"
            )
    if place.kind == "s3" and (token := os.environ.get(SESSION, "").strip()):
        keys["session_token"] = token
    return keys
