"""Whose settings a ledger holds: those of this user on this machine, or a stranger's.

A run seals the settings that it records with a key that only this user can read. So settings of
weights, servers and keys in a folder from elsewhere are told apart from the user's own.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engine.config.limits import LimitSettings
from engine.config.load import load_config, settings_as_dict
from engine.config.schema import LIMITS, STAGES, section_of
from engine.contract.errors import UsageError
from engine.contract.pipeline import Pipeline

KEY_BYTES = 32


def seal(settings: Mapping[str, Any]) -> str | None:
    """A seal on the settings that only this user's runs can make: HMAC-SHA256, 64 hex digits.

    `settings` are JSON-able. None where there is no place for a key, as for a user without a home.
    """
    key = _key()
    if key is None:
        return None
    text = json.dumps(settings, sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_own(settings: Mapping[str, Any], sealed: str | None) -> bool:
    """Whether a run of this user recorded these settings together with the seal `sealed`."""
    own = seal(settings) if sealed is not None else None
    return own is not None and sealed is not None and hmac.compare_digest(own, sealed)


def check_stored(
    pipeline: Pipeline,
    stored: Mapping[str, Any],
    environment: Mapping[str, str],
    overrides: Sequence[str],
    file: Path | None,
    folder: Path,
    others: Sequence[Pipeline] = (),
) -> None:
    """Raises UsageError where a folder's settings would make a choice reserved to its user: code to
    run, servers for data and keys. A stored value that equals the user's own is allowed. `others`
    are further pipelines that the file and the environment may name.
    """

    def loaded(file: Path | None, stored: Mapping[str, Any] | None) -> Mapping[str, Any]:
        config = load_config(
            pipeline, file, environment, overrides, {}, others=others, stored=stored
        )
        return settings_as_dict(config)

    taken = loaded(None, stored)
    try:
        own = loaded(file, None)
    except UsageError:  # such as another program's file: it allows nothing
        own = loaded(None, None)
    strange = [
        f"{section_of(stage)}.{key} = {json.dumps(taken[STAGES][stage][key])}"
        for stage in pipeline.names
        for key in _sensitive(pipeline[stage].stage.Settings)
        if taken[STAGES][stage][key] != own[STAGES][stage][key]
    ]
    strange += [
        f"{LIMITS}.{key} = {json.dumps(taken[LIMITS][key])}"
        for key in _sensitive(LimitSettings)
        if taken[LIMITS][key] != own[LIMITS][key]
    ]
    if strange:
        raise UsageError(
            f"the settings in {folder} were not recorded by a run of yours on this machine, and "
            f"they choose what code runs and where data and keys go: {', '.join(strange)}; if that "
            "is right give --trust, else --set them"
        )


def _sensitive(settings: type[BaseModel]) -> Iterator[str]:
    """The name of every setting made with `setting(needs_trust=True)`."""
    for key, field in settings.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("needs_trust"):
            yield key


def _key() -> bytes | None:
    """This user's key, made on first use; None where it can be neither read nor made."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - never raises
    path = Path(state) / "penstock" / "key"
    if not path.is_absolute():
        return None
    with suppress(OSError):
        if not path.exists():
            _make(path)
        key = path.read_bytes()
        return key if len(key) == KEY_BYTES else None
    return None


def _make(path: Path) -> None:
    """Make the key file atomically. Two runs may begin at once: both use
    the key that is there first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"key.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        new.replace(path)
        return
    new.unlink()
