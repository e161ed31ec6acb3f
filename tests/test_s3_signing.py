"""Signatures, against AWS's published examples and minio-py's own signer."""

import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from minio.credentials import Credentials as MinioCredentials
from minio.signer import sign_v4_s3

from objectstorage.s3.signing import EMPTY_SHA256, Credentials, Signer, query_of, quote_key

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DAY = datetime(2013, 5, 24, tzinfo=UTC).timestamp()


def signer_at(seconds: float, host: str, credentials: Credentials = EXAMPLE) -> Signer:
    # half a second in, so that the clock may go on meanwhile
    return Signer(credentials, "us-east-1", host, skew=seconds + 0.5 - time.time())


def signature(head: bytes) -> str:
    return head.decode("latin-1").partition("Signature=")[2].partition("\r")[0]


def test_the_published_example_of_a_ranged_get() -> None:
    head = signer_at(DAY, "examplebucket.s3.amazonaws.com").head(
        "GET", "/test.txt", "", [("range", "bytes=0-9")], EMPTY_SHA256, None
    )
    assert signature(head) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def test_the_published_example_of_a_listing() -> None:
    head = signer_at(DAY, "examplebucket.s3.amazonaws.com").head(
        "GET", "/", query_of([("prefix", "J"), ("max-keys", "2")]), (), EMPTY_SHA256, None
    )
    assert signature(head) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


@given(
    key=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    value=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
)
def test_any_key_and_header_as_minio_signs_them(key: str, value: str) -> None:
    path = "/bucket/" + quote_key(key)
    headers = {
        "host": "h:9000",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-date": "20130524T000000Z",
        "x-amz-meta-a": f"{value}   {value}",
    }
    witness = sign_v4_s3(
        method="PUT",
        url=urlsplit("http://h:9000" + path)._replace(path=path),
        region="us-east-1",
        headers=dict(headers),
        credentials=MinioCredentials(EXAMPLE.access_key, EXAMPLE.secret_key),
        content_sha256="UNSIGNED-PAYLOAD",
        date=datetime.fromtimestamp(DAY, UTC),
    )["Authorization"].partition("Signature=")[2]
    ours = signer_at(DAY, "h:9000").head(
        "PUT", path, "", [("x-amz-meta-a", headers["x-amz-meta-a"])], "UNSIGNED-PAYLOAD", 3
    )
    assert signature(ours) == witness


def test_the_key_of_the_day_changes_with_the_day() -> None:
    signer = signer_at(DAY, "h")
    first = signer.head("GET", "/", "", (), EMPTY_SHA256, None)
    assert signer.head("GET", "/", "", (), EMPTY_SHA256, None) == first
    signer.skew += 86400
    assert b"20130525/us-east-1" in signer.head("GET", "/", "", (), EMPTY_SHA256, None)


def test_a_session_token_is_signed_and_anonymous_is_not() -> None:
    token = signer_at(DAY, "h", EXAMPLE._replace(session_token="TOKEN"))
    head = token.head("GET", "/", "", (), EMPTY_SHA256, None)
    assert b"x-amz-security-token: TOKEN\r\n" in head
    assert b";x-amz-security-token, Signature" in head
    assert b"Authorization" not in Signer(None, "r", "h").head("GET", "/", "", (), "", None)


def test_credentials_and_signers_show_no_secret() -> None:
    signer = signer_at(DAY, "h")
    for text in (repr(EXAMPLE), str(EXAMPLE), repr(signer), f"{[EXAMPLE]}"):
        assert EXAMPLE.secret_key not in text
        assert EXAMPLE.access_key not in text
