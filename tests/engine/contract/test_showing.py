"""Addresses as they are shown: no password, no signature, and nothing else that is gone."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Permanent, shown, shown_in
from engine.contract.errors import Fault
from engine.contract.item import earlier_id, item_id
from engine.contract.showing import identity

SECRET = [
    ("http://reader:hunter2@h.example/a.mp4", "http://h.example/a.mp4"),
    ("http://reader@h.example:81/a.mp4", "http://h.example:81/a.mp4"),
    ("https://a:b/c@h.example/x", "https://a:b/c@h.example/x"),  # the host is "a", as browsers say
    ("https://a:b@c@h.example/x", "https://h.example/x"),
    ("https://a:p w@h.example/x y", "https://h.example/x y"),
    ("ftp://u:p@h/", "ftp://h/"),
    (
        "https://b.s3.example/v.mp4?X-Amz-Algorithm=A&X-Amz-Credential=B%2Fus&X-Amz-Date=1&"
        "X-Amz-Expires=9&X-Amz-Security-Token=T&X-Amz-Signature=f00&X-Amz-SignedHeaders=host&v=2",
        "https://b.s3.example/v.mp4?v=2",
    ),
    ("https://h/v?x-goog-signature=f&x=1", "https://h/v?x=1"),
    ("https://h/v.mp4?Expires=1&Signature=x~-_&Key-Pair-Id=K&Policy=e", "https://h/v.mp4"),
    ("https://h/v.mp4?sv=1&se=2&sr=b&sp=r&sig=a%2Bb%3D", "https://h/v.mp4"),
    ("https://h/v.mp4?AWSAccessKeyId=A&Signature=s%3D&Expires=1", "https://h/v.mp4"),
    ("https://h/v.mp4?md5=x&expires=1", "https://h/v.mp4"),
    ("https://h/v.mp4?SIG=x", "https://h/v.mp4"),
    ("https://h/v.mp4?a=1&token=x&b=2#t=3", "https://h/v.mp4?a=1&b=2#t=3"),
    ("https://h/v.mp4?access_token=x", "https://h/v.mp4"),
    ("https://h/v.mp4?accessToken=x;y", "https://h/v.mp4"),
    ("https://h/v.mp4?user=me&password=x&q=1", "https://h/v.mp4?q=1"),
    ("https://h/v.mp4?api_key=x", "https://h/v.mp4"),
    ("https://h/v.mp4#access_token=x", "https://h/v.mp4"),
    ("https://h/hdnts=exp=1~acl=/*~hmac=ab/v.m3u8", "https://h/v.m3u8"),
    ("https://h/v.m3u8?hdnea=exp=1~acl=/*~hmac=ab", "https://h/v.m3u8"),
    ("https://h/v;token=x/a.mp4", "https://h/v/a.mp4"),
    ("https://h/get?u=http%3A%2F%2Fme%3Apw%40i%2Fx&n=1", "https://h/get?u=http%3A%2F%2Fi%2Fx&n=1"),
    ("https://h/get?u=http://me:pw@i/x?sig=1&n=1", "https://h/get?u=http://i/x&n=1"),
]

PLAIN = [
    "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3",
    "https://www.tiktok.com/@user/video/1",
    "https://h/list?pageToken=x&sp=1&se=2&key=3&user=me&id=a%40b",
    "https://h/?u=http%3a%2f%2Fi%2Fx%3Fa%3D1",
    "https://h/?", "https://h/a?b&&c==d#", "https://h/a#b?c", "http://[::1]:80/a=b/c;d",
    "/videos/a?token=b@c.mp4", "relative/x=1@2", "", "a:b@c",
]  # fmt: skip


@pytest.mark.parametrize(("address", "left"), SECRET)
def test_what_is_left_of_an_address(address: str, left: str) -> None:
    assert shown(address) == left
    assert shown(left) == left


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert shown(address) == shown_in(address) == identity(address) == address
    assert item_id(address) == earlier_id(address)


@pytest.mark.parametrize(("address", "left"), [one for one in SECRET if " " not in one[0]])
@pytest.mark.parametrize("frame", ["{}", "{}: gone", "no '{}'.", '<a href="{}">', "({})", "`{}`,"])
def test_addresses_in_a_text(frame: str, address: str, left: str) -> None:
    text = f"see {frame} and {frame}\nme@here a=b"
    assert shown_in(text.format(address, address)) == text.format(left, left)


def test_reasons_and_tracebacks_have_none() -> None:
    error = Permanent("http://me:pw@h/a.mp4?sig=x: is gone (http://i/?token=y)")
    assert error.reason == str(error) == "http://h/a.mp4: is gone (http://i/)"
    fault = Fault("bug", kind="unexpected", traceback="at\n  get('http://me:pw@h/')\nE: no\n")
    assert fault.traceback == "at\n  get('http://h/')\nE: no\n"


def test_an_id_holds_no_secret_and_a_new_signature_makes_no_new_one() -> None:
    first, second = (
        item_id(f"https://me:{word}@h.example/a.mp4?X-Amz-Signature={word}&Expires=1{word}")
        for word in ("hunter2", "f00d")
    )
    assert first == second == item_id("https://h.example/a.mp4")
    assert first.startswith("h-example-a-mp4-")
    assert item_id("http://h/a.mp4?token=x") == item_id("http://h/a.mp4?token=y")
    # Here the token may be all that says which video is meant.
    first, second = item_id("http://h/play?token=x"), item_id("http://h/play?token=y")
    assert first != second
    assert first[:-12] == second[:-12] == "h-play-"


@settings(max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_at_all(before: str, after: str) -> None:
    for text in (before, f"{before}://{after}", f"http://{before}@{after}?{before}={after}"):
        assert shown_in(shown_in(text)) == shown_in(text)
        shown(text)
        item_id(text)


def test_a_long_text_takes_no_long_time() -> None:
    begun = time.process_time()
    for text in ("http://" * 20_000, "http://a?" + "sig=;" * 20_000, "http://h/;a=~hmac" * 5_000):
        shown_in(text)
        shown(text + "://@")
    assert time.process_time() - begun < 5
