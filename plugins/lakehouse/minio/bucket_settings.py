"""What a bucket does by itself, as declared: versioning, lifecycle, quota, policy.

Not every server has these, and some answer as if they had: rclone gives a listing where the policy is asked for, and
would take the removal of a policy or of a lifecycle for the removal of the whole bucket. So each setting is read first,
in a way that tells whether the server knows it, and is written only where it does. What was written is read again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lakehouse.minio import bucket_quota
from lakehouse.minio.declared import Bucket, Expiry
from lakehouse.minio.exceptions import ObjectStoreError

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook

OWN = "lakehouse:"  # begins the ids of the lifecycle rules that are made here; others are left alone
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_LISTS = ("Action", "NotAction", "Resource", "NotResource")


@dataclass
class Compared:
    """Of one bucket: lines of what differs (or was changed), and the settings that the server does not have."""

    changes: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


class _Unsupported(ObjectStoreError):
    """The server does not have this setting; never leaves this module."""

    remedy = "Take the setting out of the declaration, then clear the group."


def compare(store: "ObjectStoreHook", bucket: Bucket) -> Compared:
    """Return what differs from what is declared; only looks. The bucket is there.

    :raises ObjectStoreError: the server refuses to tell.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    found = Compared()
    for name in _declared(bucket):
        try:
            found.changes += _SETTINGS[name].differences(store, bucket)
        except _Unsupported:
            found.unsupported.append(_lacks(bucket, name))
    return found


def apply(store: "ObjectStoreHook", bucket: Bucket) -> Compared:
    """Make equal what differs, and look again.

    :raises ObjectStoreError: the server refuses a setting, or took it and holds another.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    done = Compared()
    for name in _declared(bucket):
        setting = _SETTINGS[name]
        try:
            changes = setting.differences(store, bucket)
            if changes:
                _write(store, bucket, name)
                if left := setting.differences(store, bucket):
                    raise ObjectStoreError(f"The object store took it, and holds something else: {'; '.join(left)}")
            done.changes += changes
        except _Unsupported:
            done.unsupported.append(_lacks(bucket, name))
    return done


def _declared(bucket: Bucket) -> list[str]:
    return [name for name in _SETTINGS if getattr(bucket, name) is not None]


def _lacks(bucket: Bucket, name: str) -> str:
    return f"bucket {bucket.name}: {name} is declared, but this server has none"


def _write(store: "ObjectStoreHook", bucket: Bucket, name: str) -> None:
    try:
        with store.answers() as client:
            _SETTINGS[name].write(store, client, bucket)
    except ClientError as error:
        _raise_if_unknown(error)
        said = error.response.get("Error", {})
        raise ObjectStoreError(
            f"bucket {bucket.name}: {name}: the object store answered {said.get('Code')}: {said.get('Message')}. "
            "Correct it in the declaration."
        ) from error


def _raise_if_unknown(error: ClientError) -> None:
    code = str(error.response.get("Error", {}).get("Code"))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    if code in _UNKNOWN or status in _UNKNOWN:
        raise _Unsupported("the server does not have it") from error


def _read(store: "ObjectStoreHook", verb: str, bucket: str, absent: str) -> dict[str, Any] | None:
    """The answer; None where the server says that there is none of it."""
    try:
        with store.answers() as client:
            answer: dict[str, Any] = getattr(client, verb)(Bucket=bucket)
            return answer
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == absent:
            return None
        _raise_if_unknown(error)
        raise


def _versioning(store: "ObjectStoreHook", bucket: Bucket) -> list[str]:
    answer = _read(store, "get_bucket_versioning", bucket.name, "") or {}
    now = answer.get("Status")
    if now is None:
        _policy_of(store, bucket.name)  # a server without any settings says nothing here, and is known by that
    if bucket.versioning and now != "Enabled":
        return [f"bucket {bucket.name}: versioning: {now or 'off'} instead of Enabled"]
    if not bucket.versioning and now == "Enabled":
        return [f"bucket {bucket.name}: versioning: Enabled instead of Suspended"]
    return []


def _write_versioning(store: "ObjectStoreHook", client: Any, bucket: Bucket) -> None:
    status = "Enabled" if bucket.versioning else "Suspended"
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})


def _rules(store: "ObjectStoreHook", bucket: str) -> list[dict[str, Any]]:
    answer = _read(store, "get_bucket_lifecycle_configuration", bucket, "NoSuchLifecycleConfiguration")
    if answer is None:
        return []
    if not answer.get("Rules"):  # S3 never answers so: another answer was taken for one
        raise _Unsupported("the server does not have it")
    rules: list[dict[str, Any]] = answer["Rules"]
    return rules


def _rule(expiry: Expiry) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "ID": f"{OWN}{expiry.prefix or '(all)'}",
        "Status": "Enabled",
        "Filter": {"Prefix": expiry.prefix},
    }
    if expiry.expiration_days is not None:
        rule["Expiration"] = {"Days": expiry.expiration_days}
    if expiry.noncurrent_expiration_days is not None:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": expiry.noncurrent_expiration_days}
    return rule


def _lifecycle(store: "ObjectStoreHook", bucket: Bucket) -> list[str]:
    wanted = {rule["ID"]: _said(rule) for rule in map(_rule, bucket.lifecycle or [])}
    there = {rule["ID"]: _said(rule) for rule in _rules(store, bucket.name) if rule.get("ID", "").startswith(OWN)}
    return [
        f"bucket {bucket.name}: lifecycle of {name.removeprefix(OWN)}: "
        f"{there.get(name, 'no rule')} instead of {wanted.get(name, 'no rule')}"
        for name in sorted({*wanted, *there})
        if wanted.get(name) != there.get(name)
    ]


def _said(rule: Mapping[str, Any]) -> str:
    """What a rule does, in words; one that others have changed says so."""
    words = [
        f"{label} after {rule[part][days]} days"
        for label, part, days in (
            ("objects go", "Expiration", "Days"),
            ("old versions go", "NoncurrentVersionExpiration", "NoncurrentDays"),
        )
        if days in rule.get(part, {})
    ]
    known = {"ID", "Status", "Filter", "Prefix", "Expiration", "NoncurrentVersionExpiration"}
    words += sorted(set(rule) - known)
    where = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
    state = "" if rule.get("Status") == "Enabled" else " (disabled)"
    return f"'{', '.join(words)} below {where or 'the bucket'}'{state}"


def _write_lifecycle(store: "ObjectStoreHook", client: Any, bucket: Bucket) -> None:
    others = [rule for rule in _rules(store, bucket.name) if not rule.get("ID", "").startswith(OWN)]
    rules = [*others, *map(_rule, bucket.lifecycle or [])]
    if rules:
        client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": rules})
    else:  # only a server that has just named our own rules comes here
        client.delete_bucket_lifecycle(Bucket=bucket.name)


def _quota(store: "ObjectStoreHook", bucket: Bucket) -> list[str]:
    now = bucket_quota.read(store, bucket.name)
    if now is None:
        raise _Unsupported("the server does not have it")
    return [] if now == bucket.quota else [f"bucket {bucket.name}: quota: {now} instead of {bucket.quota:d} bytes"]


def _write_quota(store: "ObjectStoreHook", client: Any, bucket: Bucket) -> None:
    bucket_quota.write(store, bucket.name, int(bucket.quota or 0))


def _policy_of(store: "ObjectStoreHook", bucket: str) -> dict[str, Any] | None:
    answer = _read(store, "get_bucket_policy", bucket, "NoSuchBucketPolicy")
    if answer is None:
        return None
    try:
        policy: dict[str, Any] = json.loads(answer["Policy"])
    except ValueError as error:  # rclone's listing
        raise _Unsupported("the server does not have it") from error
    return policy


def _policy(store: "ObjectStoreHook", bucket: Bucket) -> list[str]:
    there = _policy_of(store, bucket.name)
    if there is None:
        return [f"bucket {bucket.name}: policy: there is none"]
    if _canonical(there) == _canonical(bucket.policy or {}):
        return []
    return [f"bucket {bucket.name}: policy differs: {json.dumps(there, sort_keys=True)}"]


def _write_policy(store: "ObjectStoreHook", client: Any, bucket: Bucket) -> None:
    client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(bucket.policy))


def _canonical(policy: Mapping[str, Any]) -> Any:
    """A policy without what a server writes otherwise: one word or a list of it, and the order of lists."""
    statements = []
    for statement in _list(policy.get("Statement")):
        same: dict[str, Any] = {
            key: sorted(_list(value)) if key in _LISTS else value for key, value in statement.items()
        }
        if "Principal" in same:
            who = {"AWS": ["*"]} if same["Principal"] == "*" else same["Principal"]
            same["Principal"] = {kind: sorted(_list(names)) for kind, names in who.items()}
        if "Condition" in same:
            same["Condition"] = {
                test: {key: sorted(map(str, _list(values))) for key, values in keys.items()}
                for test, keys in same["Condition"].items()
            }
        statements.append(json.dumps(same, sort_keys=True))
    return sorted(statements)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


@dataclass(frozen=True)
class _Setting:
    differences: Callable[["ObjectStoreHook", Bucket], list[str]]
    write: Callable[["ObjectStoreHook", Any, Bucket], None]


_SETTINGS = {
    "versioning": _Setting(_versioning, _write_versioning),
    "lifecycle": _Setting(_lifecycle, _write_lifecycle),
    "quota": _Setting(_quota, _write_quota),
    "policy": _Setting(_policy, _write_policy),
}
