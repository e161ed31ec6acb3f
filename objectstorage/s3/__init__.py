"""S3 and what speaks it: MinIO, SeaweedFS, Ceph and others.

The logic is generators that do no I/O (`core` and what it calls); `effects`
says what they may ask for, `transport` does it. minio-py brings credential
providers, the rules of hosts and URL styles, and presigning.
"""

from objectstorage.s3.store import S3Storage

__all__ = ["S3Storage"]
