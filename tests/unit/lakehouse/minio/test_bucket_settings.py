import json
from contextlib import contextmanager

import httpx
import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from lakehouse.minio import bucket_quota, buckets
from lakehouse.minio.declared import Bucket
from lakehouse.minio.exceptions import ObjectStoreError, StoreUnreachable
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.operators import BucketApplyOperator

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": ["arn:aws:s3:::lake/public/*"],
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        }
    ],
}
DECLARED = Bucket(
    name="lake",
    versioning=True,
    lifecycle=[{"prefix": "logs/", "expiration_days": 30}, {"noncurrent_expiration_days": 7}],
    quota="1GiB",
    policy=POLICY,
)
FOREIGN = {"ID": "of somebody", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}


def refused(code, status=400):
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "x")


class Minio:
    """boto3's client of a server that has all settings, and writes a policy its own way; and the hook around it."""

    lake = "datalake"

    def __init__(self):
        self.status, self.rules, self.policy, self.quota = None, [], None, 0
        self.writes = []

    @contextmanager
    def answers(self):
        yield self

    def has_bucket(self, bucket):
        return True

    def ensure_bucket(self, bucket):
        return False

    def get_bucket_versioning(self, Bucket):
        return {"Status": self.status} if self.status else {}

    def put_bucket_versioning(self, Bucket, VersioningConfiguration):
        self.writes.append("versioning")
        self.status = VersioningConfiguration["Status"]

    def get_bucket_lifecycle_configuration(self, Bucket):
        if not self.rules:
            raise refused("NoSuchLifecycleConfiguration", 404)
        return {"Rules": self.rules}

    def put_bucket_lifecycle_configuration(self, Bucket, LifecycleConfiguration):
        self.writes.append("lifecycle")
        self.rules = LifecycleConfiguration["Rules"]

    def delete_bucket_lifecycle(self, Bucket):
        self.writes.append("no lifecycle")
        self.rules = []

    def get_bucket_policy(self, Bucket):
        if self.policy is None:
            raise refused("NoSuchBucketPolicy", 404)
        return {"Policy": json.dumps(self.policy)}

    def put_bucket_policy(self, Bucket, Policy):
        self.writes.append("policy")
        self.policy = json.loads(Policy)
        statement = self.policy["Statement"][0]
        statement["Principal"], statement["Action"] = {"AWS": ["*"]}, ["s3:GetObject"]
        statement["Condition"]["IpAddress"]["aws:SourceIp"] = ["10.0.0.0/8"]


class Rclone(Minio):
    """What rclone 1.75 answers; a setting's removal would remove the bucket."""

    def get_bucket_versioning(self, Bucket):
        return {}

    def get_bucket_lifecycle_configuration(self, Bucket):
        return {}

    def get_bucket_policy(self, Bucket):
        return {"Policy": "<?xml version='1.0'?><ListBucketResult/>"}


@pytest.fixture
def quota(monkeypatch):
    """The quota is the fake server's; None where it has none."""
    monkeypatch.setattr(bucket_quota, "read", lambda store, bucket: store.quota)

    def write(store, bucket, size):
        store.writes.append("quota")
        store.quota = size

    monkeypatch.setattr(bucket_quota, "write", write)


def changed(store, **declared):
    return buckets.apply(store, [Bucket(name="lake", **declared)]).changed


def test_what_differs_is_planned_then_made_then_nothing_is_left(quota):
    store = Minio()
    planned = buckets.plan(store, [DECLARED])
    assert planned.changed == [
        "bucket lake: versioning: off instead of Enabled",
        "bucket lake: lifecycle of (all): no rule instead of 'old versions go after 7 days below the bucket'",
        "bucket lake: lifecycle of logs/: no rule instead of 'objects go after 30 days below logs/'",
        "bucket lake: quota: 0 instead of 1073741824 bytes",
        "bucket lake: policy: there is none",
    ]
    assert store.writes == [] and planned.unsupported == []
    assert buckets.apply(store, [DECLARED]) == planned
    assert store.writes == ["versioning", "lifecycle", "quota", "policy"]
    assert buckets.apply(store, [DECLARED]) == buckets.plan(store, [DECLARED]) == buckets.Buckets()
    assert len(store.writes) == 4


def test_what_is_not_declared_is_left(quota):
    store = Minio()
    buckets.apply(store, [DECLARED])
    assert buckets.apply(store, [Bucket(name="lake")]) == buckets.Buckets()
    assert len(store.writes) == 4


def test_rules_of_others_stay_and_our_own_follow_the_declaration(quota):
    store = Minio()
    store.rules = [FOREIGN]
    changed(store, lifecycle=[{"prefix": "logs/", "expiration_days": 30}])
    store.rules[1]["Status"] = "Disabled"
    (line,) = changed(store, lifecycle=[{"prefix": "logs/", "expiration_days": 30}])
    assert "(disabled) instead of" in line
    store.rules[1]["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": 1}
    (line,) = changed(store, lifecycle=[{"prefix": "logs/", "expiration_days": 30}])
    assert "AbortIncompleteMultipartUpload" in line
    assert changed(store, lifecycle=[])[0].endswith("instead of no rule")
    assert store.rules == [FOREIGN]
    store.rules = []
    changed(store, lifecycle=[{"prefix": "logs/", "expiration_days": 30}])
    changed(store, lifecycle=[])
    assert store.writes[-1] == "no lifecycle" and store.rules == []


def test_versioning_is_suspended_only_where_it_is_enabled(quota):
    store = Minio()
    assert changed(store, versioning=False) == []
    store.status = "Enabled"
    assert changed(store, versioning=False) == ["bucket lake: versioning: Enabled instead of Suspended"]
    assert changed(store, versioning=True) == ["bucket lake: versioning: Suspended instead of Enabled"]


def test_another_policy_is_shown_and_replaced(quota):
    store = Minio()
    store.policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": ["s3:*"]}]}
    (line,) = changed(store, policy=POLICY)
    assert line.startswith("bucket lake: policy differs: ") and "Deny" in line
    assert changed(store, policy=POLICY) == []


def test_what_the_server_does_not_have_is_said_and_never_written(quota, caplog, monkeypatch, tmp_path):
    store = Rclone()
    store.quota = None
    lacks = [
        f"bucket lake: {name} is declared, but this server has none"
        for name in ("versioning", "lifecycle", "quota", "policy")
    ]
    assert buckets.plan(store, [DECLARED]) == buckets.Buckets([], [], lacks)
    assert buckets.apply(store, [DECLARED, Bucket(name="lake", lifecycle=[])]).unsupported == [*lacks, lacks[1]]
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: store)
    declared = tmp_path / "storage.yaml"
    declared.write_text("buckets: [{name: lake, versioning: true}]")
    assert BucketApplyOperator(task_id="b", declaration=str(declared)).execute({})["unsupported"] == [lacks[0]]
    assert store.writes == []


@pytest.mark.parametrize("error", [refused("NotImplemented", 501), refused("Other", 405)])
def test_a_server_that_says_not_implemented_does_not_have_it(quota, error):
    store = Minio()

    def fail(**_):
        raise error

    store.put_bucket_versioning = store.get_bucket_policy = fail
    store.status = "Suspended"
    found = buckets.apply(store, [Bucket(name="lake", versioning=True, policy=POLICY)])
    assert [line.split(" is ")[0] for line in found.unsupported] == ["bucket lake: versioning", "bucket lake: policy"]


def test_a_setting_that_is_refused_or_not_kept_is_told(quota):
    store = Minio()

    def refuse(**_):
        raise refused("MalformedPolicy")

    store.put_bucket_policy = refuse
    with pytest.raises(ObjectStoreError, match="bucket lake: policy: the object store answered MalformedPolicy: no"):
        changed(store, policy=POLICY)
    store.put_bucket_versioning = lambda **_: None
    with pytest.raises(ObjectStoreError, match="holds something else: bucket lake: versioning: off"):
        changed(store, versioning=True)
    store.get_bucket_versioning = refuse
    with pytest.raises(ClientError):
        changed(store, versioning=True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lifecycle": [{"prefix": "logs/"}]}, "expiration_days, noncurrent"),
        ({"lifecycle": [{"expiration_days": 3}]}, "whole bucket would be emptied"),
        ({"lifecycle": [{"prefix": "logs", "expiration_days": 3}]}, "slash at its end"),
        ({"lifecycle": [{"prefix": "a/", "expiration_days": 3}, {"prefix": "a/", "expiration_days": 4}]}, "two rules"),
        ({"quota": "much"}, "byte"),
        ({"policy": {"Version": "2012-10-17"}}, "at least one Statement"),
    ],
)
def test_a_wrong_declaration_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Bucket(name="lake", **wrong)


@pytest.fixture
def asked(monkeypatch):
    """Requests to the admin API; the test puts the answers."""
    conn = '{"conn_type":"aws","login":"key","password":"hidden-word","extra":{"endpoint_url":"http://s3.test:9000","region_name":"us-east-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_STORE", conn)
    made = {"requests": [], "answers": []}

    def request(method, url, **arguments):
        made["requests"].append((method, url, arguments))
        answer = made["answers"].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(httpx, "request", request)
    return made


def test_the_quota_is_read_and_set_by_signed_requests(asked):
    minio = {"server": "MinIO"}
    asked["answers"] += [
        httpx.Response(200, headers=minio, json={"quota": 5}),
        httpx.Response(200, headers=minio),
        httpx.Response(404, text="<Code>NoSuchBucket</Code>"),
        httpx.Response(403, headers=minio, text="AccessDenied"),
        httpx.ConnectError("refused"),
    ]
    hook = ObjectStoreHook("store")
    assert bucket_quota.read(hook, "lake") == 5
    bucket_quota.write(hook, "lake", 7)
    (_, url, get), (method, _, put), *_ = asked["requests"]
    assert (method, url) == ("PUT", "http://s3.test:9000/minio/admin/v3/get-bucket-quota?bucket=lake")
    assert get["headers"]["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
    assert json.loads(put["content"]) == {"quota": 7, "size": 7, "quotatype": "hard"}
    assert "hidden-word" not in str(asked["requests"])
    assert bucket_quota.read(hook, "lake") is None
    with pytest.raises(ObjectStoreError, match="admin:SetBucketQuota"):
        bucket_quota.read(hook, "lake")
    with pytest.raises(StoreUnreachable, match=r"http://s3\.test:9000"):
        bucket_quota.read(hook, "lake")
