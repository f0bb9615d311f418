"""From an object store's errors to the endings of a stage.

obstore has few classes of errors, so what went wrong is read from the status and from the code in
the server's answer, which all of its messages repeat.
"""

import re

from engine import Ending, Permanent, Throttled, Transient, shown_in
from stages.store.place import StorePlace
from stages.store.settings import KEYS

MOST_WORDS = 200

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\"(?:code|error|statusCode)\": ?\"(\w+)\"")


def ending_of(error: BaseException, place: StorePlace, host: str) -> Ending:
    """How an upload to `place` ends after this error of the client; all errors are about it."""
    text = str(error).partition("\n\nDebug source")[0]
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    code = next((one for pair in _CODE.findall(text) for one in pair if one), "")
    bucket = place.address("").removesuffix("/")
    if status in (429, 503):
        return Throttled(f"{host} asks to slow down ({code or status})", key=host)
    if code in ("NoSuchBucket", "ContainerNotFound", "Bucket_not_found") or status == 404:
        if code == "NoSuchUpload":
            return Transient(f"{host}: the upload was ended by somebody else", kind="store")
        return Permanent(
            f"{bucket}: the bucket is not there; make it, or correct `url`", kind="no_bucket"
        )
    if status in (401, 403) or code in ("AuthenticationFailed", "InvalidAccessKeyId"):
        variables = " and ".join(KEYS[place.kind].values())
        return Permanent(
            f"{bucket}: {host} does not let us in ({code or status}); check {variables}, and that "
            "the key may read and write there",
            kind="store_key",
        )
    if 300 <= status < 500:
        told = f"{status}{', ' if code else ''}{code}"
        return Permanent(
            f"{bucket}: {host} refuses it ({told}); check `endpoint` and `region`",
            kind="store",
        )
    if status:
        return Transient(f"{host} is in trouble ({code or status})", kind="store")
    return Transient(f"{host} could not be reached: {_words(text)}", kind="store")


def is_unknown(error: BaseException) -> bool:
    """Whether the server says that it knows no such request, as some do of put-if-absent."""
    return "status code: 501" in str(error)


def _words(text: str) -> str:
    """The end of the message, which says what failed, without addresses."""
    told = shown_in(" ".join(text.split()))
    return told.rpartition(" - ")[2][:MOST_WORDS]
