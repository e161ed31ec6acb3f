"""Options of an S3 store: what they mean, and what is refused before any I/O."""

import copy
import pickle
import socket

import pytest

from objectstorage import ErrInvalidURL, ErrPermission, StorageError, open_storage
from objectstorage.s3 import S3Storage
from objectstorage.s3.options import parse_options

CANARY = "CANARYsecretCANARY"
KEYS = {"access_key": "CANARYaccess", "secret_key": CANARY}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may connect to anything."""

    def refuse(*args: object) -> None:
        raise AssertionError("no I/O was to happen")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("s3://B", {}, "bucket name"),
        ("s3:///prefix", {}, "bucket name"),
        ("s3://bucket", {"endpoint": "127.0.0.1:9000"}, "http"),
        ("s3://bucket", {"endpoint": "http://h/path"}, "more than a host"),
        ("s3://bucket", {"endpoint": "http://h:x"}, "port"),
        ("s3://bucket", {"endpoint": f"http://k:{CANARY}@h"}, "credentials"),
        ("s3://bucket", {"dialect": "azure"}, "dialect"),
        ("s3://bucket", {"addressing": "other"}, "addressing"),
        ("s3://bucket", {"region": "no region"}, "region"),
        ("s3://bucket", {"attempts": 0}, "attempts"),
        ("s3://bucket", {"attempts": "many"}, "attempts"),
        ("s3://bucket", {"connections": 0}, "connections"),
        ("s3://bucket", {"part_size": 1024}, "5 MiB"),
        ("s3://bucket", {"timeout": float("nan")}, "timeout"),
        ("s3://bucket", {"access_key": CANARY}, "go together"),
        ("s3://bucket", {"access_key": "a", "secret_key": CANARY + "\r\nx: y"}, "word"),
        ("s3://bucket", {"headers": {"Host": "x"}}, "extra header"),
        ("s3://bucket", {"headers": {"If-Match": '"x"'}}, "extra header"),
        ("s3://bucket", {"headers": {"x-amz-date": "x"}}, "extra header"),
        ("s3://bucket", {"headers": {"x-a": CANARY + "\r\nb: c"}}, "extra header"),
        ("s3://bucket", {"bukcet": "x"}, "bukcet"),
        ("s3://bucket?bukcet=x", {}, "bukcet"),
        (f"s3://bucket?secret_key={CANARY}", {}, "does not belong in a URL"),
        (f"s3://a:{CANARY}@bucket/x", {}, "no credentials"),
        ("s3://bucket/" + "p" * 1020, {}, "no room"),
        ("s3://bucket?region=a", {"region": "b"}, "twice"),
        ("s3://bucket/a#b", {}, "%23"),
    ],
)
def test_what_is_refused(url: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ErrInvalidURL, match=says) as caught:
        open_storage(url, **options)
    assert CANARY not in str(caught.value) + repr(caught.value)


def test_a_prefix_always_ends_in_a_slash() -> None:
    one, two = parse_options("bucket", "/p", {}), parse_options("bucket", "/p/", {})
    assert one.prefix == two.prefix == "p/"
    assert parse_options("bucket", "/", {}).prefix == ""


def test_hosts_and_styles() -> None:
    def place(**options: object) -> tuple[str, str]:
        store = S3Storage("my-bucket", **options)
        return store._core.client.origin, store._core.client.path

    assert place(region="eu-west-1") == ("https://my-bucket.s3.eu-west-1.amazonaws.com", "")
    assert place(region="eu-west-1", addressing="path") == (
        "https://s3.eu-west-1.amazonaws.com",
        "/my-bucket",
    )
    assert place(endpoint="http://h:9000") == ("http://h:9000", "/my-bucket")
    assert place(endpoint="http://h:9000", addressing="virtual") == ("http://my-bucket.h:9000", "")
    assert place(endpoint="https://h:443/") == ("https://h", "/my-bucket")


def test_a_missing_ca_bundle_is_named() -> None:
    with pytest.raises(ErrInvalidURL, match="nowhere"):
        S3Storage("bucket", ca_bundle="/nowhere.pem")


def test_no_secret_in_any_text_of_a_store() -> None:
    store = open_storage("s3://bucket/p?endpoint=http://h:1", session_token="CANARYtoken", **KEYS)
    texts = [repr(store), str(store), store.url, repr(store.capabilities)]
    texts += [repr(store._options), repr(vars(store._core.client))]
    assert not [text for text in texts if "CANARY" in text]


def test_a_store_with_secrets_in_code_is_not_pickled() -> None:
    store = open_storage("s3://bucket", **KEYS)
    for attempt in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="credentials given in code") as caught:
            attempt(store)
        assert "CANARY" not in str(caught.value)


def test_a_store_with_secrets_in_the_environment_is_rebuilt() -> None:
    store = open_storage("s3://bucket/p?endpoint=http://h:1&part_size=5242880")
    again = pickle.loads(pickle.dumps(store))
    assert again.url == store.url
    assert again._options == store._options


def test_no_credentials_anywhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MINIO_ACCESS_KEY", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_storage("s3://bucket", endpoint="http://127.0.0.1:1")
    with pytest.raises(ErrPermission, match="no credentials") as caught:
        store.get("a")
    assert (caught.value.key, caught.value.operation) == ("a", "get")


@pytest.mark.parametrize("source", ["environment", "minio", "profile"])
def test_where_credentials_are_found(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = {}
    if source == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "found")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    elif source == "minio":
        monkeypatch.setenv("MINIO_ACCESS_KEY", "found")
        monkeypatch.setenv("MINIO_SECRET_KEY", CANARY)
    else:
        path = f"{tmp_path}/credentials"
        with open(path, "w") as file:
            file.write(f"[ci]\naws_access_key_id = found\naws_secret_access_key = {CANARY}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", path)
        options["profile"] = "ci"
    store = S3Storage("bucket", endpoint="http://127.0.0.1:1", **options)
    assert "X-Amz-Credential=found%2F" in store.presign("a")


def test_bad_keys_are_refused_before_any_io() -> None:
    store = open_storage("s3://bucket/p?endpoint=http://h:1&dialect=seaweedfs", **KEYS)
    for key in (
        "",
        "/a",
        "a\0",
        "\ud800",
        "x" * 1023,
        "a//b",
        "a/../b",
        ".",
        "a/",
        ".objectstorage/x",
    ):
        for verb in (store.get, store.stat, store.delete, store.open):
            with pytest.raises(StorageError) as caught:
                verb(key)
            assert caught.value.storage == store.url
            assert caught.value.operation
