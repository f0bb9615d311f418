"""Settings of a store are checked before anything is sent."""

import pytest
from pydantic import ValidationError

from stages.store.place import StorePlace
from stages.store.settings import UploadSettings


@pytest.mark.parametrize(
    ("address", "place", "host"),
    [
        ("s3://b/x/y/", StorePlace("s3", "", "b", "x/y"), "s3.eu-1.amazonaws.com"),
        ("gs://b", StorePlace("gs", "", "b", ""), "storage.googleapis.com"),
        ("az://me/c/x", StorePlace("az", "me", "c", "x"), "me.blob.core.windows.net"),
    ],
)
def test_addresses_of_places(address, place, host):
    assert StorePlace.of(address) == place
    assert place.host(None, "eu-1") == host
    assert place.host("https://storage.example.com/s3", "eu-1") == "storage.example.com"
    assert place.address(f"key{1}").startswith(address.rstrip("/"))


@pytest.mark.parametrize(
    "address",
    [
        "b",
        "",
        "s3://",
        "az://account",
        "http://b",
        "s3://b/../c",
        "s3://b?x",
        "s3://k:s@b",
        "az://A/c",
    ],
)
def test_what_is_no_place_is_refused(address):
    with pytest.raises(ValueError, match=r"give an address|letters"):
        StorePlace.of(address)


@pytest.mark.parametrize("name", ["endpoint", "public_url"])
@pytest.mark.parametrize(
    "value", ["nothing", "ftp://x", "https://u:secret@host", "https://h?key=secret"]
)
def test_addresses_of_servers_have_no_keys_in_them(name, value):
    with pytest.raises(ValidationError, match=name) as error:
        UploadSettings(**{name: value})
    assert "secret" not in str(error.value)
