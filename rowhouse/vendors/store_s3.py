"""The object store on S3 and on what speaks S3 (R2, MinIO): conditional puts by If-None-Match and If-Match.

Does: bounded times, bounded retries, errors without credentials. Does not: buckets, versions, multipart uploads.
Credentials come from the environment by boto3's own rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rowhouse.vendors.store import Blob, Conflict, StoreError, check_key, check_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["S3Store"]

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
ATTEMPTS = 3


class S3Store:
    """Objects of one bucket below one prefix."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{check_prefix(prefix)}/" if prefix else ""
        self._place = f"store s3://{bucket}/{prefix}"
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # Other makers' stores have no bucket host names and know no CRC trailers.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # An own session: the default one is not safe to create clients from in several threads.
        try:
            self._client: S3Client = boto3.session.Session().client(
                "s3", endpoint_url=endpoint, region_name=region or ("auto" if endpoint else None), config=config
            )
        except (BotoCoreError, ValueError) as exc:
            raise StoreError(f"{self._place}: cannot be opened ({type(exc).__name__}). Check the region and the endpoint.") from None

    def get(self, key: str) -> Blob | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            return Blob(answer["Body"].read(), answer["ETag"].strip('"'))
        except ClientError as exc:
            if _code(exc) == "NoSuchKey" or (_status(exc) == 404 and _code(exc) != "NoSuchBucket"):
                return None
            raise self._refused("read", key, exc) from None
        except (BotoCoreError, OSError) as exc:
            raise self._unreachable("read", key, exc) from None

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        conditions: dict[str, Any] = {}
        if if_none_match:
            conditions["IfNoneMatch"] = "*"
        if if_match is not None:
            conditions["IfMatch"] = f'"{if_match}"'
        try:
            answer = self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **conditions)
            return answer["ETag"].strip('"')
        except ClientError as exc:
            lost = _status(exc) == 412 or _code(exc) in {"PreconditionFailed", "ConditionalRequestConflict"}
            lost = lost or (if_match is not None and _code(exc) == "NoSuchKey")
            if not lost:
                raise self._refused("write", key, exc) from None
            if exc.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0:
                # The first attempt may have been ours and have won, with only its answer lost.
                ours = self.get(key)
                if ours is not None and ours.data == data:
                    return ours.etag
            raise Conflict(f"{self._place}: object {key} is not the one expected any more. Read it again and repeat.") from None
        except (BotoCoreError, OSError) as exc:
            raise self._unreachable("write", key, exc) from None

    def delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))
        except ClientError as exc:
            if _code(exc) != "NoSuchKey":
                raise self._refused("delete", key, exc) from None
        except (BotoCoreError, OSError) as exc:
            raise self._unreachable("delete", key, exc) from None

    def list(self, prefix: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + check_prefix(prefix))
            for page in pages:
                found.extend((item["Key"].removeprefix(self._prefix), item["ETag"].strip('"')) for item in page.get("Contents", []))
        except ClientError as exc:
            raise self._refused("list", prefix, exc) from None
        except (BotoCoreError, OSError) as exc:
            raise self._unreachable("list", prefix, exc) from None
        return sorted(found)

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _refused(self, verb: str, key: str, exc: ClientError) -> StoreError:
        # The vendor's message is left out: some echo the access key or the string that was signed.
        request = exc.response.get("ResponseMetadata", {}).get("RequestId", "none")
        return StoreError(
            f"{self._place}: could not {verb} {key!r}: HTTP {_status(exc)} {_code(exc)}, request {request}. "
            "Check the bucket, its region and the credentials' rights."
        )

    def _unreachable(self, verb: str, key: str, exc: Exception) -> StoreError:
        # The class alone: texts of botocore carry addresses with signatures.
        why = type(exc).__name__
        return StoreError(f"{self._place}: could not {verb} {key!r}: {why}. Check the endpoint, the network and the credentials.")


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _status(exc: ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
