"""A bucket's quota, which is no part of S3: MinIO's admin API, signed like any other request."""

import json
from typing import TYPE_CHECKING

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from lakehouse.minio.exceptions import ObjectStoreError

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook


def read(store: "ObjectStoreHook", bucket: str) -> int | None:
    """The quota in bytes, 0 where the bucket has none; None where the server is not MinIO and knows no quotas.

    :raises ObjectStoreError: MinIO refuses to tell.
    """
    answer = _request(store, "GET", f"get-bucket-quota?bucket={bucket}")
    if answer.headers.get("server") != "MinIO":
        return None
    return int(_checked(answer, bucket).json()["quota"])


def write(store: "ObjectStoreHook", bucket: str, size: int) -> None:
    """Set the quota. Only after `read` has told that the server is MinIO: to others this is the key of an object.

    :raises ObjectStoreError: MinIO refuses it.
    """
    body = json.dumps({"quota": size, "size": size, "quotatype": "hard"}).encode()
    _checked(_request(store, "PUT", f"set-bucket-quota?bucket={bucket}", body), bucket)


def _request(store: "ObjectStoreHook", method: str, path: str, body: bytes = b"") -> httpx.Response:
    client = store.get_conn().meta
    request = AWSRequest(method, f"{client.endpoint_url}/minio/admin/v3/{path}", data=body)
    S3SigV4Auth(store.get_credentials(), "s3", client.region_name).add_auth(request)
    try:
        return httpx.request(
            method,
            str(request.url),
            content=body,
            headers=dict(request.headers.items()),
            verify=store.verify if store.verify is not None else True,
            timeout=httpx.Timeout(60, connect=5),
        )
    except httpx.TransportError as error:
        raise store.unreachable(str(error) or type(error).__name__) from error


def _checked(answer: httpx.Response, bucket: str) -> httpx.Response:
    if answer.status_code != 200:
        raise ObjectStoreError(
            f"bucket {bucket}: quota: MinIO answered {answer.status_code}: {' '.join(answer.text.split())[:300]}. "
            "The access key needs admin:GetBucketQuota and admin:SetBucketQuota."
        )
    return answer
