"""Versioning, lifecycle, quota and policy on the running object store, where it has them (`make test-minio`)."""

import os
import uuid

import httpx
import pytest
from botocore.exceptions import ClientError

from lakehouse.minio.operators import BucketApplyOperator

IS_MINIO = os.environ.get("S3_SERVER") == "minio"
SETTINGS = ["versioning", "lifecycle", "quota", "policy"]


@pytest.fixture
def bucket(store):
    name = f"it-{uuid.uuid4().hex[:8]}"
    yield name
    client = store.get_conn()
    if IS_MINIO:
        for one in client.list_object_versions(Bucket=name).get("Versions", []):
            client.delete_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])
    store.remove(name, [item.key for item in store.objects(name, "")])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def apply(bucket, tmp_path):
    def apply_(expiration_days=30):
        declared = tmp_path / "storage.yaml"
        declared.write_text(f"""
buckets:
  - name: {bucket}
    prefixes: [public]
    versioning: true
    lifecycle:
      - {{prefix: logs/, expiration_days: {expiration_days}}}
      - {{noncurrent_expiration_days: 7}}
    quota: 16MiB
    policy:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Principal: "*"
          Action: s3:GetObject
          Resource: arn:aws:s3:::{bucket}/public/*
""")
        return BucketApplyOperator(task_id="buckets", declaration=str(declared)).execute({})

    return apply_


@pytest.mark.skipif(IS_MINIO, reason="MinIO has them all")
def test_what_the_default_server_lacks_is_said_and_nothing_is_lost(store, bucket, apply):
    result = apply()
    assert result["made"] == [f"bucket {bucket}", f"{bucket}/public"] and result["changed"] == []
    lacks = [f"bucket {bucket}: {name} is declared, but this server has none" for name in SETTINGS]
    assert result["unsupported"] == lacks
    store.get_conn().put_object(Bucket=bucket, Key="public/a.txt", Body=b"kept")
    assert apply()["made"] == []
    assert store.get_conn().get_object(Bucket=bucket, Key="public/a.txt")["Body"].read() == b"kept"


@pytest.mark.skipif(not IS_MINIO, reason="only MinIO has them: make test-minio")
def test_minio_does_what_is_declared(store, bucket, apply):
    result = apply()
    assert [line.split(": ")[1].split()[0] for line in result["changed"]] == [
        "versioning", "lifecycle", "lifecycle", "quota", "policy"
    ]  # fmt: skip
    assert result["unsupported"] == []
    assert apply() == {"made": [], "changed": [], "unsupported": []}
    (line,) = apply(expiration_days=31)["changed"]
    assert "'objects go after 30 days below logs/' instead of 'objects go after 31 days below logs/'" in line

    client = store.get_conn()
    for body in (b"one", b"two"):
        client.put_object(Bucket=bucket, Key="public/a.txt", Body=body)
    versions = client.list_object_versions(Bucket=bucket, Prefix="public/a.txt")["Versions"]
    assert len(versions) == 2
    url = f"{client.meta.endpoint_url}/{bucket}"
    assert httpx.get(f"{url}/public/a.txt").content == b"two"
    client.put_object(Bucket=bucket, Key="logs/b.txt", Body=b"secret")
    assert httpx.get(f"{url}/logs/b.txt").status_code == 403
    with pytest.raises(ClientError, match="XMinioAdminBucketQuotaExceeded"):
        client.put_object(Bucket=bucket, Key="logs/large", Body=b"x" * (17 << 20))
