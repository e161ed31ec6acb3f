"""Replies read by the short way are read as `httptools` reads them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objectstorage.s3._http import MalformedReply, ReplyBody, ReplyParser
from objectstorage.s3._plain import Fields, Heads, named
from objectstorage.s3.exchange import Exchange, Reply

NAMES = [
    b"Content-Length",
    b"content-length",
    b"ETag",
    b"Transfer-Encoding",
    b"Connection",
    b"Upgrade",
    b"x-amz-meta-a",
    b"X-Amz-Meta-B",
    b"X",
    b"",
    b" X",
    b"Content-Length ",
    b"X\xe9",
]
VALUES = [
    b"3",
    b" 3",
    b"3 ",
    b"+3",
    b"-3",
    b"0x3",
    b"3, 3",
    b"03",
    b"\xb2",
    b"9" * 30,
    b"chunked",
    b"close",
    b"Keep-Alive",
    b"keep-alive, close",
    b"",
    b"a\tb",
    b"a\x00b",
    b"a\x7fb",
    b"a\rb",
    b"a\nb",
    b"\xff",
    b" folded\r\n on",
]
STATUS = [b"200 OK", b"204 No Content", b"304 ", b"404 Not\tFound", b"200", b"20 OK", b"100 Go"]
SEPARATORS = [b": ", b":", b":\t", b" : ", b" ", b"::"]
ENDS = [b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n"]


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from([b"HTTP/1.1 "] * 8 + [b"HTTP/1.0 ", b"HTTP/2 ", b"http/1.1 "]))
    data = line + draw(st.sampled_from(STATUS)) + draw(st.sampled_from(ENDS))
    for _ in range(draw(st.integers(0, 5))):
        data += draw(st.sampled_from(NAMES)) + draw(st.sampled_from(SEPARATORS))
        data += draw(st.sampled_from(VALUES)) + draw(st.sampled_from(ENDS))
    return data + b"\r\n" + draw(st.sampled_from([b"", b"abc", b"abcd"]))


def sent(method: str) -> Exchange:
    exchange = Exchange(method, b"")
    exchange.sent = "all"
    return exchange


def plain_reply(exchange: Exchange, data: bytes) -> tuple[Reply, bool] | None:
    """A head is read in one way when it is new, in another when it is known: all the same."""
    heads = Heads(often=1)
    new, known = heads.plain_reply(exchange, data), heads.plain_reply(exchange, data)
    if new is None:
        assert known is None
        return None
    assert known is not None
    (first, keep), (second, kept) = new, known
    assert (first.status, first.body, first.length) == (second.status, second.body, second.length)
    assert dict(first.headers) == dict(second.headers)
    assert keep == kept
    return known


def plain(headers: bytes) -> Mapping[str, str]:
    found = plain_reply(
        sent("GET"), b"HTTP/1.1 200 OK\r\n" + headers + b"Content-Length: 0\r\n\r\n"
    )
    assert found is not None
    return found[0].headers


@given(replies(), st.sampled_from(["GET", "HEAD"]))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "GET")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "GET")
@example(b"HTTP/1.1 200 OK\r\nETag: a\r\netag: b\r\nContent-Length: 3\r\n\r\nabc", "GET")
@example(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", "HEAD")
def test_what_is_taken_means_what_httptools_reads(data: bytes, method: str) -> None:
    found = plain_reply(sent(method), data)
    if found is None:
        return  # left to httptools
    reply, keep = found
    end = data.index(b"\r\n\r\n") + 4
    parser = ReplyParser()
    parser.head(data[:end], method)  # must not refuse it
    incoming = ReplyBody(parser, data[end:])
    assert reply.status == parser.status
    assert dict(reply.headers) == parser.headers
    assert all(reply.headers.get(name) == value for name, value in parser.headers.items())
    assert incoming.ended
    assert reply.body == bytes(incoming.rest)
    assert reply.length == len(reply.body) == parser.length
    assert keep == incoming.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 256 + b"Content-Length: 0\r\n\r\n",
        b"",
    ],
)
def test_what_is_not_plain_goes_the_long_way(data: bytes) -> None:
    assert plain_reply(sent("GET"), data) is None


def test_nothing_is_plain_before_all_was_sent_or_for_a_buffer() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert plain_reply(sent("GET"), data) is not None
    exchange = Exchange("GET", b"")
    exchange.sent = "some"
    assert plain_reply(exchange, data) is None
    for kept in (Exchange("GET", b"", stream=True), Exchange("GET", b"", max_body=2)):
        kept.sent = "all"
        assert plain_reply(kept, data) is None
    into = Exchange("GET", b"", into=memoryview(bytearray(3)))
    into.sent = "all"
    assert plain_reply(into, data) is None


def test_fields_are_a_mapping() -> None:
    fields = plain(b"ETag:  a \r\nX-Amz-Meta-Who: ci\r\n")
    assert isinstance(fields, Fields)
    assert fields["etag"] == "a"
    assert fields.get("x-amz-meta-who") == "ci"
    assert "etag" in fields
    assert "tag" not in fields
    assert fields.get("tag", "none") == "none"
    with pytest.raises(KeyError):
        fields["tag"]
    assert len(fields) == 3
    assert named(fields, "x-amz-meta-") == named(dict(fields), "x-amz-meta-") == {"who": "ci"}
    assert named(fields, "x-none-") == {}


def test_a_repeated_header_is_joined() -> None:
    fields = plain(b"X-Amz-Meta-Who: ci\r\nx-amz-meta-who: me\r\n")
    assert fields["x-amz-meta-who"] == "ci, me"
    assert named(fields, "x-amz-meta-") == {"who": "ci, me"}


def test_a_name_may_not_be_found_within_a_value() -> None:
    assert "etag" not in plain(b"X: etag: a\r\n")


@given(replies(), replies(), st.sampled_from(["GET", "HEAD"]))
@example(
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nab",
    "GET",
)
@example(
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc",
    "GET",
)
def test_what_was_learned_of_one_head_tells_nothing_wrong_of_another(
    first: bytes, second: bytes, method: str
) -> None:
    heads = Heads(often=1)
    heads.plain_reply(sent(method), first)
    found, new = heads.plain_reply(sent(method), second), Heads().plain_reply(sent(method), second)
    if found is None or new is None:
        assert found is new
        return
    assert found[1] == new[1]
    assert dict(found[0].headers) == dict(new[0].headers)
    assert found[0].body == new[0].body


def test_heads_of_many_kinds_are_read_and_not_kept() -> None:
    heads = Heads(often=2)
    for _ in range(3):
        for number in range(300):
            data = b"HTTP/1.1 200 OK\r\nX-%d: a\r\nContent-Length: 0\r\n\r\n" % number
            for _ in range(number % 3):
                found = heads.plain_reply(sent("GET"), data)
                assert found is not None
                assert dict(found[0].headers) == {f"x-{number}": "a", "content-length": "0"}
    assert len(heads._known["GET"]) == 6
    assert len(heads._seen) <= 256
    assert heads._often > 2  # ever fewer are worth it


def test_a_refused_head_is_refused_by_the_long_way() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n"
    assert plain_reply(sent("GET"), data + b"abc") is None
    with pytest.raises(MalformedReply):
        ReplyParser().head(data, "GET")
