"""Where files are put: `StorePlace`, read from an address such as s3://bucket/folder."""

import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

Kind = Literal["s3", "az", "gs"]

FORMS = "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://ACCOUNT/CONTAINER/FOLDER"


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A folder of a bucket: `folder` has no slash at its ends, and is "" for the bucket itself.
    `account` is Azure's, "" elsewhere."""

    kind: Kind
    account: str
    bucket: str
    folder: str

    @classmethod
    def of(cls, address: str) -> "StorePlace":
        """Raises ValueError for what is no such address."""
        scheme, _, rest = address.strip().partition("://")
        names = [name for name in rest.split("/") if name]
        account = names.pop(0) if scheme == "az" and names else ""
        if scheme not in ("s3", "az", "gs") or not names:
            raise ValueError(f"give an address such as {FORMS}")
        if any(
            not re.fullmatch(r"[\w.-]+", name, re.ASCII) or name in (".", "..") for name in names
        ):
            raise ValueError(
                "the bucket and its folder may have letters, digits, '.', '_' and '-' alone; keys "
                "come from the environment"
            )
        if not re.fullmatch("[a-z0-9]*", account):
            raise ValueError("the name of an Azure account has lower-case letters and digits alone")
        return cls(cast(Kind, scheme), account, names[0], "/".join(names[1:]))

    def path(self, key: str) -> str:
        """The whole name of an object in the bucket."""
        return f"{self.folder}/{key}" if self.folder else key

    def address(self, key: str) -> str:
        """The address of an object, without a key or a signature: for people and for records."""
        account = f"{self.account}/" if self.account else ""
        return f"{self.kind}://{account}{self.bucket}/{self.path(key)}"

    def host(self, endpoint: str | None, region: str) -> str:
        """The host that is asked."""
        if endpoint is not None:
            return urlsplit(endpoint).netloc
        if self.kind == "s3":
            return f"s3.{region}.amazonaws.com"
        return (
            "storage.googleapis.com"
            if self.kind == "gs"
            else f"{self.account}.blob.core.windows.net"
        )
