"""Links to files in an object store, in the records that are persisted."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.sinks.sink import VideoRecords
from stages.store.upload import UPLOAD

LINK = ("url", "expires", "address")
"""What a record holds of a file in the store."""


def with_links(
    records: VideoRecords, written: Path, video: Path | None, frames: Iterable[Path]
) -> VideoRecords:
    """The records with where files are in the object store: the document has `stored`, the video's
    url, expires and address, and each record `picture`, those of its thumbnail, a file in
    `written`."""
    document = dict(records.document)
    if video is not None:
        document["stored"] = next(iter(_links(video).values()))
    pictures: dict[str, Any] = {}
    for folder in frames:
        pictures |= _links(folder)
    if not pictures:
        return replace(records, document=document)
    rows = [dict(record) for record in records.scenes]
    for row in rows:
        if name := row.get("thumbnail"):
            file = written / str(name).partition("/")[2]
            link = pictures.get(hashlib.sha256(file.read_bytes()).hexdigest())
            if link is not None:
                row["picture"] = link
    return replace(records, document=document, scenes=rows)


def _links(folder: Path) -> dict[str, dict[str, Any]]:
    """The links of uploaded files, by the hash of their content."""
    told = json.loads((folder / UPLOAD).read_text(encoding="utf-8"))
    return {one["sha256"]: {name: one[name] for name in LINK} for one in told["files"]}
