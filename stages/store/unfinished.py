"""Uploads in pieces that a killed process left half done: found, and ended.

S3 keeps the pieces, unseen and paid for, until somebody ends the upload. The client has no call for
that, so these two requests are signed here (AWS Signature Version 4). Azure forgets such pieces by
itself after a week.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from stages.calls.route import open_client
from stages.store.place import StorePlace

_EMPTY = hashlib.sha256(b"").hexdigest()


async def end_unfinished(
    place: StorePlace, key: str, *, server: str, region: str, keys: Mapping[str, str]
) -> int:
    """End all unfinished uploads of this key in an S3 bucket; returns their number. `server` is the
    address before the bucket's name. Raises httpx.HTTPError, and ValueError for an answer that is
    none."""
    path = place.path(key)
    bucket = f"{server}/{place.bucket}"
    async with open_client(server, {}, "endpoint") as client:
        listing = f"{bucket}?prefix={quote(path, safe='')}&uploads="
        answer = await client.get(listing, headers=signed_headers("GET", listing, region, keys))
        answer.raise_for_status()
        ids = uploads_in(answer.content, path)
        for id_ in ids:
            one = f"{bucket}/{quote(path)}?uploadId={quote(id_, safe='')}"
            ended = await client.delete(one, headers=signed_headers("DELETE", one, region, keys))
            if ended.status_code != 404:  # or else somebody else was quicker
                ended.raise_for_status()
    return len(ids)


def uploads_in(listing: bytes, path: str) -> list[str]:
    """The ids of the uploads of this object in S3's answer. Raises ValueError."""
    try:
        root = ElementTree.fromstring(listing)
    except ElementTree.ParseError as error:
        raise ValueError(f"no list of uploads: {error}") from error
    uploads = [one for one in root.iter() if one.tag.rpartition("}")[2] == "Upload"]
    fields = [{field.tag.rpartition("}")[2]: field.text or "" for field in one} for one in uploads]
    return [one["UploadId"] for one in fields if one.get("Key") == path and "UploadId" in one]


def signed_headers(
    method: str, url: str, region: str, keys: Mapping[str, str], now: datetime | None = None
) -> dict[str, str]:
    """The headers of a request without a body; the query's names are in order."""
    parts = urlsplit(url)
    time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": time}
    if "session_token" in keys:
        headers["x-amz-security-token"] = keys["session_token"]
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join([method, parts.path, parts.query, lines, names, _EMPTY])
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}"
    secret = f"AWS4{keys['secret_access_key']}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    credential = f"{keys['access_key_id']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
