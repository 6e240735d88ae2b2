"""Every REST call as data: method, path, body, and whether repeating it is harmless.

The synchronous and the asynchronous session send the same calls, so a verb is written down once. Source: the
REST reference of docs.dremio.com and dremio-oss 25.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

RESULT_PAGE = 500  # rows; the server refuses a larger limit


@dataclass(frozen=True)
class Call:
    """One request.

    :param path: below the API's prefix (`job/{id}`), or absolute when it begins with a slash.
    :param idempotent: sending it twice ends in the same state, so a lost answer may be answered by a repeat.
    :param authenticated: carries the token; only the login does not.
    """

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] | None = None
    idempotent: bool = False
    authenticated: bool = True


def login(user: str, password: str) -> Call:
    body = {"userName": user, "password": password}
    return Call("POST", "/apiv2/login", json=body, idempotent=True, authenticated=False)


def submit_sql(sql: str, context: Sequence[str] | None = None, *, idempotent: bool = False) -> Call:
    body = {"sql": sql, "context": list(context)} if context else {"sql": sql}
    return Call("POST", "sql", json=body, idempotent=idempotent)


def get_job(job_id: str) -> Call:
    return Call("GET", f"job/{_segment(job_id)}", idempotent=True)


def get_results(job_id: str, offset: int = 0, limit: int = RESULT_PAGE) -> Call:
    params = {"offset": offset, "limit": limit}
    return Call("GET", f"job/{_segment(job_id)}/results", params=params, idempotent=True)


def cancel_job(job_id: str) -> Call:
    return Call("POST", f"job/{_segment(job_id)}/cancel", idempotent=True)


def find_jobs(text: str) -> Call:
    """The job list of Dremio's own web pages (JobsListingResource): all editions of the software have it."""
    params = {"filter": f'*=contains="{text}"', "offset": 0, "limit": 100}
    return Call("GET", "/apiv2/jobs-listing/v1.0", params=params, idempotent=True)


def get_catalog() -> Call:
    return Call("GET", "catalog", idempotent=True)


def get_entity(entity_id: str) -> Call:
    return Call("GET", f"catalog/{_segment(entity_id)}", idempotent=True)


def get_entity_by_path(path: Sequence[str]) -> Call:
    return Call("GET", "catalog/by-path/" + "/".join(_segment(part) for part in path), idempotent=True)


def create_entity(entity: Mapping[str, Any]) -> Call:
    return Call("POST", "catalog", json=dict(entity))


def update_entity(entity_id: str, entity: Mapping[str, Any]) -> Call:
    return Call("PUT", f"catalog/{_segment(entity_id)}", json=dict(entity))


def delete_entity(entity_id: str, tag: str | None = None) -> Call:
    return Call("DELETE", f"catalog/{_segment(entity_id)}", params={"tag": tag} if tag else None)


def promote(entity_id: str, dataset: Mapping[str, Any]) -> Call:
    return Call("POST", f"catalog/{_segment(entity_id)}", json=dict(dataset))


def refresh_reflections(dataset_id: str) -> Call:
    return Call("POST", f"catalog/{_segment(dataset_id)}/refresh", idempotent=True)


def get_wiki(entity_id: str) -> Call:
    return Call("GET", f"catalog/{_segment(entity_id)}/collaboration/wiki", idempotent=True)


def set_wiki(entity_id: str, text: str, version: int | None = None) -> Call:
    body: dict[str, Any] = {"text": text} if version is None else {"text": text, "version": version}
    return Call("POST", f"catalog/{_segment(entity_id)}/collaboration/wiki", json=body)


def get_tags(entity_id: str) -> Call:
    return Call("GET", f"catalog/{_segment(entity_id)}/collaboration/tag", idempotent=True)


def set_tags(entity_id: str, tags: Sequence[str], version: str | None = None) -> Call:
    body: dict[str, Any] = {"tags": list(tags)} if version is None else {"tags": list(tags), "version": version}
    return Call("POST", f"catalog/{_segment(entity_id)}/collaboration/tag", json=body)


def list_reflections(dataset_id: str) -> Call:
    return Call("GET", f"dataset/{_segment(dataset_id)}/reflection", idempotent=True)


def get_reflection(reflection_id: str) -> Call:
    return Call("GET", f"reflection/{_segment(reflection_id)}", idempotent=True)


def create_reflection(reflection: Mapping[str, Any]) -> Call:
    return Call("POST", "reflection", json=dict(reflection))


def update_reflection(reflection_id: str, reflection: Mapping[str, Any]) -> Call:
    return Call("PUT", f"reflection/{_segment(reflection_id)}", json=dict(reflection))


def delete_reflection(reflection_id: str) -> Call:
    return Call("DELETE", f"reflection/{_segment(reflection_id)}")


def get_user(name: str) -> Call:
    return Call("GET", f"user/by-name/{_segment(name)}", idempotent=True)


def create_user(user: Mapping[str, Any]) -> Call:
    return Call("POST", "user", json=dict(user))


def update_user(user_id: str, user: Mapping[str, Any]) -> Call:
    return Call("PUT", f"user/{_segment(user_id)}", json=dict(user))


def _segment(text: str) -> str:
    """One path segment: slashes too are encoded, since ids of unpromoted folders contain them."""
    return quote(text, safe="")
