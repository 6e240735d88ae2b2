"""The object store of the tests, and what lies in it."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embedded.airbyte.object_store import s3_client


class Lake:
    """Buckets `datalake` and `inbox`."""

    def __init__(self, endpoint: str, key: str, secret: str) -> None:
        self.endpoint, self.key, self.secret = endpoint, key, secret
        self.s3: Any = s3_client(key, secret, endpoint, "us-east-1")

    def keys(self, prefix: str, bucket: str = "datalake") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))

    def get(self, key: str, bucket: str = "datalake") -> bytes:
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put(self, key: str, body: bytes, bucket: str = "inbox") -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def delete(self, key: str, bucket: str = "inbox") -> None:
        self.s3.delete_object(Bucket=bucket, Key=key)

    def files(self, namespace: str, stream: str) -> list[str]:
        return self.keys(f"bronze/landing/{namespace}/{stream}/")

    def tables(self, namespace: str, stream: str) -> list[pa.Table]:
        """The landed files of a stream, oldest first."""
        return [pq.read_table(io.BytesIO(self.get(key))) for key in self.files(namespace, stream)]

    def rows(self, namespace: str, stream: str) -> list[dict[str, Any]]:
        """All landed rows of a stream, without Airbyte's own columns."""
        return [
            {name: value for name, value in row.items() if not name.startswith("_airbyte_")}
            for table in self.tables(namespace, stream)
            for row in table.to_pylist()
        ]
