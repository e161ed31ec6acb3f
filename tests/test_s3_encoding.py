"""Bodies on the wire, and what replies mean."""

import io
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectstorage import (
    ErrBackend,
    ErrIntegrity,
    ErrNotExist,
    ErrPermission,
    ErrPreconditionFailed,
    ErrUnavailable,
)
from objectstorage.bodies import as_source
from objectstorage.s3.encoding import CHUNK, BufferPayload, StreamPayload, crc32_text
from objectstorage.s3.multipart import MAX_PARTS, part_size_for
from objectstorage.s3.replies import error_of, info_of, size_of
from objectstorage.s3.transport import Reply, StreamBody


def wire(payload: StreamPayload) -> bytes:
    """The body as a transport would send it."""
    body = payload.body()
    out = bytearray()
    while want := body.want():
        data = b""
        while len(data) < want and (piece := body.source.read(want - len(data))):
            data += piece
        for part in body.feed(data):
            out += part
    for part in body.finish():
        out += part
    return bytes(out)


def decoded(raw: bytes) -> tuple[bytes, bytes]:
    """The data of an `aws-chunked` body, and its trailer."""
    data = bytearray()
    while True:
        line, _, raw = raw.partition(b"\r\n")
        n = int(line, 16)
        if n == 0:
            return bytes(data), raw
        data += raw[:n]
        assert raw[n : n + 2] == b"\r\n"
        raw = raw[n + 2 :]


@settings(max_examples=30, deadline=None)
@given(size=st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7]))
def test_a_streamed_body_has_the_length_that_was_declared(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    payload = StreamPayload(as_source(io.BytesIO(data)), size, checksum=True)
    raw = wire(payload)
    assert len(raw) == payload.length
    body, trailer = decoded(raw)
    assert body == data
    assert trailer == f"x-amz-checksum-crc32:{crc32_text(zlib.crc32(data))}\r\n\r\n".encode()
    assert wire(payload) == raw, "a second attempt sends it again from the start"


def test_without_checksum_a_streamed_body_is_the_data() -> None:
    payload = StreamPayload(as_source(io.BytesIO(b"abc")), 3, checksum=False)
    assert wire(payload) == b"abc"
    assert payload.length == 3


@pytest.mark.parametrize("checksum", [True, False])
def test_a_source_that_ends_early_is_an_error_before_the_body_is_whole(checksum: bool) -> None:
    payload = StreamPayload(as_source([b"ab"]), 5, checksum=checksum)
    body: StreamBody = payload.body()
    with pytest.raises(ErrIntegrity):
        body.feed(body.source.read(body.want()))
    with pytest.raises(ErrIntegrity):
        StreamPayload(as_source([b"ab"]), 5, checksum=checksum).body().finish()


def test_what_is_read_once_is_not_repeatable_and_says_so() -> None:
    payload = StreamPayload(as_source(iter([b"ab"])), 2, checksum=True)
    assert payload.repeatable
    payload.body()
    assert not payload.repeatable
    assert BufferPayload(b"ab").repeatable


def test_parts_fit_five_tebibytes_into_ten_thousand() -> None:
    mib = 1024 * 1024
    assert sum(part_size_for(None, 8 * mib, n) for n in range(1, MAX_PARTS + 1)) >= 5 * mib * mib
    assert max(part_size_for(None, 8 * mib, n) for n in (1, MAX_PARTS)) <= 5 * 1024 * mib
    assert part_size_for(5 * mib * mib, 8 * mib, 1) * MAX_PARTS >= 5 * mib * mib
    assert part_size_for(100, 8 * mib, 1) == 8 * mib


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, body, len(body))


def document(code: str, message: str = "m") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", ErrNotExist),
        (404, "NoSuchBucket", ErrNotExist),
        (404, "", ErrNotExist),
        (403, "AccessDenied", ErrPermission),
        (403, "SignatureDoesNotMatch", ErrPermission),
        (401, "", ErrPermission),
        (412, "PreconditionFailed", ErrPreconditionFailed),
        (503, "SlowDown", ErrUnavailable),
        (500, "", ErrUnavailable),
        (400, "BadDigest", ErrIntegrity),
        (418, "Teapot", ErrBackend),
        (400, "", ErrBackend),
    ],
)
def test_the_kind_of_a_reply(status: int, code: str, kind: type) -> None:
    error = error_of(reply(status, document(code) if code else b"", x_amz_request_id="R1"), "bkt")
    assert type(error) is kind
    assert error.status == status
    assert error.request_id == "R1"
    if code == "NoSuchBucket":
        assert "bkt" in str(error)


def test_what_a_server_echoes_of_a_request_is_cut() -> None:
    body = document("Strange", "you sent Signature=abc123&X-Amz-Credential=AKIA/2024 badly")
    text = str(error_of(reply(400, body), "b"))
    assert "abc123" not in text
    assert "AKIA" not in text


def test_what_headers_say() -> None:
    info = info_of(
        "k",
        reply(
            206,
            b"el",
            content_range="bytes 1-2/5",
            etag='"v1"',
            last_modified="Wed, 21 Oct 2015 07:28:00 GMT",
            content_type="text/plain",
            x_amz_meta_owner="ci",
            x_amz_meta_objectstorage_write_id="hidden",
        ),
    )
    assert (info.size, info.etag, info.content_type) == (5, "v1", "text/plain")
    assert info.metadata == {"owner": "ci"}
    assert info.last_modified.isoformat() == "2015-10-21T07:28:00+00:00"


@pytest.mark.parametrize(
    "strange",
    [
        reply(200, etag='"a"'),
        reply(206, etag='"a"', content_range="bytes 0-1/*"),
        reply(206, etag='"a"'),
    ],
)
def test_a_reply_that_does_not_say_how_long_is_refused(strange: Reply) -> None:
    strange.body = memoryview(b"")
    with pytest.raises(ErrBackend):
        size_of(strange)


def test_a_reply_without_an_etag_is_refused() -> None:
    with pytest.raises(ErrBackend, match="ETag"):
        info_of("k", reply(200, content_length="0"))


@pytest.mark.parametrize("fast", [True, False])
def test_checksums_with_and_without_the_fast_extra(fast: bool) -> None:
    program = (
        ("" if fast else "import sys; sys.modules['isal'] = None; ")
        + "from objectstorage.s3.encoding import crc32, crc32_text; "
        + "print(crc32.__module__, crc32_text(crc32(b'llo', crc32(b'he'))))"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert told.stdout.split() == [b"isal.isal_zlib" if fast else b"zlib", b"NhCmhg=="]
