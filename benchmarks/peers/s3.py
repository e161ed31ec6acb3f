"""One bucket of one S3 server: obstore, opendal, boto3, minio-py, s3fs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.peers.goals import OURS
from benchmarks.peers.posix import obstore_target, opendal_target
from objectstorage.bench.raw import ChunkFile, minio_target
from objectstorage.bench.targets import Target, filesystem_target, storage_target
from objectstorage.testing.servers import S3Server

__all__ = ["TARGETS", "make", "obstore_store", "opendal_options", "ours"]

_CHUNK = 1 << 20
_PART = 8 << 20


def make(layer: str, server: S3Server) -> Target:
    """The layer's target in the server's bucket, which must be there.

    What is not timed is done by this library, which is the quickest at it.
    """
    peer = TARGETS[layer](server)
    if layer == OURS:
        return peer
    return replace(ours(server), layer=layer, url=peer.url, timed=peer)


def ours(server: S3Server) -> Target:
    """This library's blocking face."""
    return storage_target(server.open(f"s3://{server.bucket}"), layer=OURS)


def _obstore(server: S3Server) -> Target:
    return obstore_target(obstore_store(server), server.endpoint)


def obstore_store(server: S3Server) -> Any:
    """obstore's store, for its blocking functions and its coroutines."""
    from obstore.store import S3Store

    return S3Store(
        server.bucket,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def _opendal(server: S3Server) -> Target:
    import opendal

    return opendal_target(opendal.Operator("s3", **opendal_options(server)), server.endpoint)


def opendal_options(server: S3Server) -> dict[str, str]:
    """What either of opendal's operators takes."""
    return {
        "bucket": server.bucket,
        "root": "/",
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "disable_config_load": "true",
    }


def _boto3(server: S3Server) -> Target:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    bucket, transfer = server.bucket, TransferConfig(multipart_chunksize=_PART)

    def find(prefix: str) -> Iterator[Any]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return (entry for page in pages for entry in page.get("Contents", ()))

    def get_range(key: str, start: int, length: int) -> Any:
        wanted = f"bytes={start}-{start + length - 1}"
        return client.get_object(Bucket=bucket, Key=key, Range=wanted)["Body"].read()

    return Target(
        layer="boto3",
        url=server.endpoint,
        put=lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        get=lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read(),
        get_range=get_range,
        stat=lambda key: client.head_object(Bucket=bucket, Key=key),
        list=find,
        delete=lambda key: client.delete_object(Bucket=bucket, Key=key),
        put_stream=lambda key, chunks, size: client.upload_fileobj(
            ChunkFile(chunks), bucket, key, Config=transfer
        ),
        get_stream=lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(
            _CHUNK
        ),
    )


def _minio(server: S3Server) -> Target:
    from minio import Minio

    scheme, _, host = server.endpoint.partition("://")
    client = Minio(
        host,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=scheme == "https",
    )
    return minio_target(client, server.bucket, url=server.endpoint, layer="minio")


def _s3fs(server: S3Server) -> Target:
    import s3fs

    filesystem = s3fs.S3FileSystem(
        key=server.access_key,
        secret=server.secret_key,
        client_kwargs={"endpoint_url": server.endpoint, "region_name": server.region},
        use_listings_cache=False,  # the others ask the server, too
        skip_instance_cache=True,
    )
    return filesystem_target(
        filesystem, layer="s3fs", url=server.endpoint, root=f"{server.bucket}/"
    )


TARGETS: dict[str, Callable[[S3Server], Target]] = {
    OURS: ours,
    "obstore": _obstore,
    "opendal": _opendal,
    "boto3": _boto3,
    "minio": _minio,
    "s3fs": _s3fs,
}
"""Layer to how its target is made."""
