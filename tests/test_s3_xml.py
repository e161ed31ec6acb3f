"""S3's XML: what real servers send, what hostile ones might, and what is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage.errors import ErrBackend
from objectstorage.s3._alike import alike
from objectstorage.s3.xml import (
    MAX_DOCUMENT,
    DeleteFailure,
    Part,
    complete_body,
    delete_body,
    parse_delete,
    parse_error,
    parse_list,
    parse_parts,
    parse_text,
    parse_uploads,
)
from objectstorage.storage import ObjectInfo, Upload

_WHEN = datetime(2026, 11, 24, 1, 36, 19, tzinfo=UTC)
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OPEN = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'

# As SeaweedFS, moto and AWS order and write their elements.
_SEAWEEDFS = (
    f"{_HEAD}{_OPEN}<Name>b</Name><Prefix>p/</Prefix><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter>"
    "<IsTruncated>true</IsTruncated><Contents><Key>p/a+b</Key><ETag>&#34;e1&#34;</ETag>"
    "<Size>1</Size><StorageClass>STANDARD</StorageClass>"
    "<LastModified>2026-11-24T01:36:19Z</LastModified></Contents>"
    "<CommonPrefixes><Prefix>p/t/</Prefix></CommonPrefixes><EncodingType>url</EncodingType>"
    "<NextContinuationToken>p/t/</NextContinuationToken><KeyCount>2</KeyCount></ListBucketResult>"
)
_MOTO = (
    f"{_HEAD}{_OPEN}<IsTruncated>true</IsTruncated><Contents><Key>p/a%20b</Key>"
    '<LastModified>2026-11-24T01:36:19.000Z</LastModified><ETag>"e1"</ETag><Size>1</Size>'
    "<StorageClass>STANDARD</StorageClass></Contents><NextContinuationToken>p/t/"
    "</NextContinuationToken><Name>b</Name><Prefix>p/</Prefix><Delimiter>/</Delimiter>"
    "<MaxKeys>2</MaxKeys><CommonPrefixes><Prefix>p/t/</Prefix></CommonPrefixes>"
    "<EncodingType>url</EncodingType><KeyCount>2</KeyCount></ListBucketResult>"
)
_INDENTED = (
    f"{_HEAD}{_OPEN}\n  <IsTruncated>true</IsTruncated>\n  <Contents>\n\t<Key>p/a b</Key>\r\n"
    "    <Owner>\n <ID>me</ID>\n <DisplayName/>\n </Owner>\n    <ETag>&quot;e1&quot;</ETag>\n"
    "    <Size>1</Size>\n  <LastModified>2026-11-24T01:36:19.000Z</LastModified>\n  </Contents>\n"
    "  <CommonPrefixes>\n    <Prefix>p/t/</Prefix>\n  </CommonPrefixes>\n"
    "  <NextContinuationToken>p/t/</NextContinuationToken>\n</ListBucketResult>\n"
)


def listing(*contents: str, rest: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    """A ListObjectsV2 reply."""
    records = "".join(f"<Contents>{fields}</Contents>" for fields in contents)
    return f"{_HEAD}{_OPEN}{records}{rest}</ListBucketResult>".encode()


def fields(
    key: str = "a", size: str = "1", when: str = "2026-11-24T01:36:19Z", etag: str = '"e1"'
) -> str:
    """An object in a listing."""
    return (
        f"<Key>{key}</Key><LastModified>{when}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>"
    )


@pytest.mark.parametrize("body", [_SEAWEEDFS, _MOTO, _INDENTED])
def test_a_listing_however_it_is_written(body: str) -> None:
    page = parse_list(body.encode(), own="p/")
    assert page.objects == [ObjectInfo("a b", 1, _WHEN, "e1")]
    assert page.prefixes == ["t/"]
    assert (page.truncated, page.token, page.listed) == (True, "p/t/", 2)
    assert page.objects[0].last_modified.tzinfo is UTC


def outcome(body: bytes) -> object:
    """What a listing is read as."""
    try:
        return parse_list(body, own="p/")
    except ErrBackend:
        return ErrBackend


def the_long_way(body: bytes) -> object:
    """The same with a comment, which only a parser takes."""
    return outcome(body.replace(b"</ListBucketResult>", b"<!-- --></ListBucketResult>"))


@pytest.mark.parametrize("body", [_SEAWEEDFS, _MOTO])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_objects_that_are_written_alike_take_the_short_way(body: str, count: int) -> None:
    start, end = body.index("<Contents>"), body.index("</Contents>") + len("</Contents>")
    records = [body[start:end].replace("<Key>p/a", f"<Key>p/{i}%26") for i in range(count)]
    long = (body[:start] + "".join(records) + body[end:]).encode()
    found = alike(long)
    assert found is not None
    assert len(list(found[0])) == count
    assert found[1] == f"{body[:start]}<Contents></Contents>{body[end:]}".encode()
    page = parse_list(long, own="p/")
    assert [info.key for info in page.objects] == [f"{i}& b" for i in range(count)]
    assert page == the_long_way(long)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Contents><Key>p/a", "<Contents>\n<Key>p/a"),
        ("</Contents><Contents>", "</Contents>\n<Contents>"),
        ("</Contents><Contents>", "</Contents>&bad;<Contents>"),
        ("</Contents><Contents>", "</Contents><!-- --><Contents>"),
        ("</Contents><Contents>", "</Contents><X/><Contents>"),
        ("</Contents><Contents>", "</Contents><Contents/><Contents>"),
        ("<Key>p/b</Key>", "<Key>p/&amp;</Key>"),
        ("<Key>p/b</Key>", "<Key>p/\u00fc</Key>"),
        ("<Key>p/b</Key>", "<Key>p/\x01</Key>"),
        ("<Key>p/b</Key>", "<Key>p/b</Key><Key>p/c</Key>"),
        ("<Key>p/b</Key>", "<Key></Key>"),
        ("<Key>p/b</Key>", "<Key>p/b<X>c</X></Key>"),
        ("<Key>p/b</Key>", "<Key>p/b"),
        ("<Key>p/b</Key>", ""),
        ("<Size>1<", "<Size>-1<"),
        ("<Size>1<", "<Size>1_0<"),
        ("<Size>1<", "<Size> 1 <"),
        ('<ETag>"e1"<', '<ETag>e1"<'),
        ('<ETag>"e1"<', "<ETag>e1<"),
        ('<ETag>"e1"<', "<ETag><"),
        ('<ETag>"e1"<', '<ETag>""<'),
        ("19Z</Last", "19</Last"),
        ("19Z</Last", "19+02:00</Last"),
        ("2026-11-24T01:36:19Z", ""),
        ("2026-11-24T01:36:19Z", "yesterday"),
        ("<Contents><Key>p/a", "<![CDATA[<Contents><Key>p/a"),
        ("<IsTruncated>", "<IsTruncated a='>"),
        ("<IsTruncated>", "<Contents>"),
        ("<IsTruncated>", "<CommonPrefixes></CommonPrefixes><IsTruncated>"),
        ("<Contents><Key>p/a", "<Prefix>p/</Prefix><Contents><Key>p/a"),
        ("<IsTruncated>", "<Contents></Contents>"),
        ("<ListBucketResult xmlns=", "<ListBucketResult a='"),
        ("</ListBucketResult>", ""),
    ],
)
def test_the_short_way_finds_what_the_long_way_finds(old: str, new: str) -> None:
    body = listing(fields("p/a"), fields("p/b"), fields("p/c")).decode()
    assert old in body
    for times in (1, -1):  # one of the objects, and all of them
        changed = body.replace(old, new, times).encode()
        assert outcome(changed) == the_long_way(changed)


def test_an_empty_listing() -> None:
    page = parse_list(listing())
    assert (page.objects, page.prefixes, page.truncated, page.token) == ([], [], False, None)
    # a token beside "not truncated" asks for nothing
    rest = "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    assert parse_list(listing(rest=rest)).token is None


def test_an_emptied_folder_that_a_server_keeps_is_no_object() -> None:
    body = listing(fields("p/d/", size="0", etag=""), fields("p/d/e", size="0"))
    assert [info.key for info in parse_list(body, own="p/").objects] == ["d/e"]
    assert parse_list(listing(fields("p/", size="0", etag="")), own="p/").objects == []


_KEY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
).filter(lambda key: not key.startswith("/"))


@given(st.lists(_KEY))
def test_encoded_keys_come_back(keys: list[str]) -> None:
    rest = "<EncodingType>url</EncodingType>"
    body = listing(*[fields(quote_plus(key)) for key in keys], rest=rest)
    assert [info.key for info in parse_list(body).objects] == keys


@given(
    st.lists(
        st.text(
            st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1, max_size=40
        ).filter(lambda key: not key.startswith("/"))
    )
)
def test_keys_of_a_server_that_encodes_nothing(keys: list[str]) -> None:
    body = listing(*[fields(escape(key)) for key in keys])
    assert [info.key for info in parse_list(body).objects] == keys
    indented = body.replace(b"<Contents>", b"\n  <Contents>\n    ")
    assert [info.key for info in parse_list(indented).objects] == keys


def test_encoding_is_undone_only_where_it_was_done() -> None:
    assert parse_list(listing(fields("100%25+"))).objects[0].key == "100%25+"
    rest = "<EncodingType>url</EncodingType>"
    assert parse_list(listing(fields("100%25+"), rest=rest)).objects[0].key == "100% "


def test_long_texts_come_in_one_piece() -> None:
    key = "&amp;".join("k" * 500)
    assert parse_list(listing(fields(key))).objects[0].key == "&".join("k" * 500)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-11-24T01:36:19.5Z", _WHEN + timedelta(milliseconds=500)),
        ("2026-11-24T01:36:19.123456789Z", _WHEN + timedelta(microseconds=123456)),
        ("2026-11-24T01:36:19", _WHEN),
        ("2026-11-24T03:36:19+02:00", _WHEN),
    ],
)
def test_dates(text: str, when: datetime) -> None:
    found = parse_list(listing(fields(when=text))).objects[0].last_modified
    assert found == when
    assert found.tzinfo is UTC
    assert when.astimezone(timezone(timedelta(hours=2))) == found


def test_etags_are_what_stat_gives() -> None:
    body = listing(fields(etag="plain"), fields(etag='W/"weak"'), fields(etag="&quot;q-2&quot;"))
    assert [info.etag for info in parse_list(body).objects] == ["plain", 'W/"weak"', "q-2"]


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (fields().replace("<Key>a</Key>", ""), "without its Key"),
        (fields().replace("<Size>1</Size>", ""), "without its Size"),
        (fields().replace("ETag>", "Tag>"), "without its ETag"),
        (fields().replace("LastModified>", "Date>"), "without its LastModified"),
        (fields(size="many"), "can't be read"),
        (fields(size="-1"), "can't be read"),
        (fields(size=""), "can't be read"),
        (fields(when="yesterday"), "can't be read"),
        (fields(when="0001-01-01T00:00:00+14:00"), "can't be read"),
        (fields(etag='""'), "can't be read"),
    ],
)
def test_records_that_lack_something_are_refused(contents: str, told: str) -> None:
    with pytest.raises(ErrBackend, match=told):
        parse_list(listing(fields(), contents))


def test_a_prefix_must_have_one() -> None:
    with pytest.raises(ErrBackend, match="CommonPrefixes without its Prefix"):
        parse_list(listing(rest="<CommonPrefixes></CommonPrefixes>"))


def test_listings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ErrBackend, match="not how to go on"):
        parse_list(listing(fields(), rest="<IsTruncated>true</IsTruncated>"))
    with pytest.raises(ErrBackend, match="IsTruncated 'perhaps'"):
        parse_list(listing(rest="<IsTruncated>perhaps</IsTruncated>"))
    with pytest.raises(ErrBackend, match="'Error', not a 'ListBucketResult'"):
        parse_list(b"<Error><Code>NoSuchBucket</Code></Error>")


def test_keys_outside_the_store_are_refused() -> None:
    for body in (
        listing(fields("q/a")),
        listing(fields("p")),
        listing(rest="<CommonPrefixes><Prefix>q/</Prefix></CommonPrefixes>"),
    ):
        with pytest.raises(ErrBackend, match="outside 'p/'"):
            parse_list(body, own="p/")


def test_what_is_no_key_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    rest = (
        "<CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes>"
        "<CommonPrefixes><Prefix>p/t/</Prefix></CommonPrefixes><EncodingType>url</EncodingType>"
    )
    keys = ["p/", "p//a", "p/%00", "p/a%00b", "p/" + "l" * 1025, "p/" + "%C3%BC" * 513, "p/ok"]
    page = parse_list(listing(*map(fields, keys), rest=rest), own="p/")
    assert [info.key for info in page.objects] == ["ok"]
    assert page.prefixes == ["t/"]
    assert page.listed == 9
    assert len(caplog.records) == 5
    longest = "p/" + "l" * 1024
    assert len(parse_list(listing(fields(longest)), own="p/").objects) == 1


# -- hostile documents -----------------------------------------------------------

_BOMB = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)


def _file(name: str) -> str:
    return f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/{name}">]>'


@pytest.mark.parametrize(
    "parse", [parse_list, parse_uploads, parse_parts, parse_delete, parse_text]
)
@pytest.mark.parametrize(
    "body",
    [
        f"{_BOMB}<ListBucketResult><Name>&i;</Name></ListBucketResult>",
        f"{_HEAD}{_file('passwd')}<ListBucketResult><Name>&f;</Name></ListBucketResult>",
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><ListBucketResult/>',
        "<ListBucketResult><Name>&undefined;</Name></ListBucketResult>",
        "<ListBucketResult>",
        "<ListBucketResult/><ListBucketResult/>",
        "<ListBucketResult><Contents></ListBucketResult>",
        "<ListBucketResult><Name>\x01</Name></ListBucketResult>",
        "not XML at all",
        "",
        "\0",
    ],
)
def test_hostile_documents_are_refused(parse: Callable[[bytes], Any], body: str) -> None:
    with pytest.raises(ErrBackend):
        parse(body.encode())
    assert parse_error(body.encode()) is None


def test_only_utf_8_is_read() -> None:
    for encoding in ("utf-16", "utf-7", "latin-1", "rot13"):
        declared = f'<?xml version="1.0" encoding="{encoding}"?>'
        body = (declared + _OPEN + "</ListBucketResult>").encode("utf-8")
        assert parse_list(body).objects == []  # whatever it claims
    # A byte order mark is stronger, and harmless.
    assert parse_list((_OPEN + "</ListBucketResult>").encode("utf-16")).objects == []
    with pytest.raises(ErrBackend):
        parse_list(listing(fields("\u00fc")).decode().encode("latin-1"))
    with pytest.raises(ErrBackend):  # encoded bytes that are no UTF-8
        parse_list(listing(fields("%FF"), rest="<EncodingType>url</EncodingType>"))


def test_large_documents_are_refused_unread() -> None:
    body = listing(*[fields()] * 10) + b" " * (50 * 1024 * 1024)
    with pytest.raises(ErrBackend, match=f"{len(body)} bytes"):
        parse_list(body)
    assert len(body) > MAX_DOCUMENT
    assert parse_error(b"<Error><Code>A</Code></Error>" + b" " * MAX_DOCUMENT) is None


def test_depth_takes_no_stack() -> None:
    depth = 200_000
    body = b"<a>" * depth + b"</a>" * depth
    assert parse_text(body, "b") == {}


@given(st.binary(max_size=200))
def test_noise_is_never_more_than_an_error(body: bytes) -> None:
    parse_error(body)
    for parse in (parse_list, parse_uploads, parse_parts, parse_delete):
        with pytest.raises(ErrBackend):
            parse(body)


# -- the small documents ---------------------------------------------------------


def test_errors() -> None:
    error = parse_error(
        f"{_HEAD}<Error>\n <Code>AuthorizationHeaderMalformed</Code>\n <Message>wrong &lt;region"
        "&gt;</Message><Resource>/b/k</Resource><RequestId>r1</RequestId><Region>eu-1</Region>"
        "</Error>".encode()
    )
    assert error is not None
    assert error.code == "AuthorizationHeaderMalformed"
    assert error.message == "wrong <region>"
    assert (error.resource, error.request_id, error.region) == ("/b/k", "r1", "eu-1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><Error>Bad gateway",
        b"<Errors/>",
        b"<Error/>",
        b"<R><Error><Code>A</Code></Error></R>",
        b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
    ],
)
def test_what_is_no_error(body: bytes) -> None:
    assert parse_error(body) is None


def test_texts() -> None:
    body = b"<CopyObjectResult>\n<ETag>&quot;e&quot;</ETag>\n<X>x</X>\n</CopyObjectResult>"
    assert parse_text(body, "ETag", "UploadId") == {"ETag": '"e"'}


def test_uploads() -> None:
    one = "<Upload><Key>p/a%2Bb</Key><UploadId>u1</UploadId><Initiator><ID>me</ID></Initiator>"
    body = (
        f"{_HEAD}<ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker/><UploadIdMarker/>"
        "<NextKeyMarker>p/a%2Bb</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>"
        "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
        f"{one}<Initiated>2026-11-24T01:36:19.000Z</Initiated></Upload></ListMultipartUploadsResult>"
    ).encode()
    page = parse_uploads(body, own="p/")
    assert page == ([Upload("a+b", "u1", _WHEN)], True, "p/a+b", "u1")
    assert parse_uploads(body).uploads[0].key == "p/a+b"
    with pytest.raises(ErrBackend, match="outside"):
        parse_uploads(body, own="q/")
    with pytest.raises(ErrBackend, match="without its UploadId"):
        parse_uploads(body.replace(b"<UploadId>u1</UploadId>", b""))
    with pytest.raises(ErrBackend, match="not how to go on"):
        parse_uploads(body.replace(b"NextKeyMarker>", b"Marker>"))


def test_parts() -> None:
    body = (
        "<ListPartsResult><Key>k</Key><Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</ETag>"
        "<Size>5</Size></Part><Part><PartNumber>2</PartNumber><ETag>e2</ETag><Size>0</Size></Part>"
        "<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>"
        "</ListPartsResult>"
    )
    assert parse_parts(body.encode()) == ([Part(1, "e1", 5), Part(2, "e2", 0)], True, "2")
    with pytest.raises(ErrBackend, match="can't be read"):
        parse_parts(body.replace("<PartNumber>1", "<PartNumber>one").encode())


def test_deletes() -> None:
    body = (
        "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b&amp;c</Key>"
        "<Code>AccessDenied</Code><Message>no</Message></Error><Error><Key>d</Key>"
        "<Code>InternalError</Code></Error></DeleteResult>"
    )
    assert parse_delete(body.encode()) == [
        DeleteFailure("b&c", "AccessDenied", "no"),
        DeleteFailure("d", "InternalError", ""),
    ]
    with pytest.raises(ErrBackend, match="without its Code"):
        parse_delete(b"<DeleteResult><Error><Key>a</Key></Error></DeleteResult>")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1))
def test_bodies_hold_any_text(text: str) -> None:
    # Our own reader is the witness: expat reads what was meant.
    for told in (text, text + "\r", "]]>" + text):
        assert parse_text(delete_body([told]), "Key") == {"Key": told}
        assert parse_text(complete_body([(1, told, None)]), "ETag") == {"ETag": f'"{told}"'}


def test_complete() -> None:
    body = complete_body([(1, "e1", "AAAA=="), (2, "e2", None)]).decode()
    assert (
        '<PartNumber>1</PartNumber><ETag>"e1"</ETag><ChecksumCRC32>AAAA==</ChecksumCRC32>' in body
    )
    assert body.endswith('<ETag>"e2"</ETag></Part></CompleteMultipartUpload>')
