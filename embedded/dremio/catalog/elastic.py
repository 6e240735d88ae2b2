"""The indices of an ELASTIC source: listed, described by their mappings, and read page by page.

Each index and alias holds one table, named as the mapping is: ``source.index._doc``. Only the hosts of the source's
``hostList`` are ever asked, in their order; Dremio asks the cluster for the addresses of its other nodes too, unless
``useWhitelist`` is set.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import httpx

from embedded.dremio.catalog.elastic_fields import Field, fields_of, merged, with_lists
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.errors import DataReadError, InvalidRequest

MAPPING = "_doc"  # the only one that an index has since version 7
META_FIELDS = ("_index", "_type", "_uid")
OLDEST = 7
SAMPLE_ROWS = 4000
CONNECT_SECONDS = 5
_VALIDATION = ("CERTIFICATE_AND_HOSTNAME_VALIDATION", "CERTIFICATE_ONLY_VALIDATION", "NO_VALIDATION")
_NUMBERS = {"scrollSize": (127, 65_535), "scrollTimeoutMillis": (1, 2**31 - 1), "readTimeoutMillis": (1, 2**31 - 1)}


def check(source: Entity) -> None:
    """Raise InvalidRequest for a wrong config, DataReadError if the cluster does not answer or is too old."""
    config = source.body["config"]
    hosts = config.get("hostList")
    if not isinstance(hosts, list) or not hosts or not all(isinstance(h, dict) and h.get("hostname") for h in hosts):
        raise InvalidRequest(
            f'Source [{source.name}]: config.hostList must be like [{{"hostname": .., "port": 9200}}].'
        )
    if config.get("authenticationType", "ANONYMOUS") not in ("ANONYMOUS", "MASTER"):
        raise InvalidRequest(f"Source [{source.name}]: config.authenticationType is ANONYMOUS or MASTER.")
    if config.get("encryptionValidationMode", _VALIDATION[0]) not in _VALIDATION:
        raise InvalidRequest(f"Source [{source.name}]: config.encryptionValidationMode is {', '.join(_VALIDATION)}.")
    for key, (least, most) in _NUMBERS.items():
        if key in config and not (str(config[key]).isdigit() and least <= int(config[key]) <= most):
            raise InvalidRequest(f"Source [{source.name}]: config.{key} is a number from {least} to {most}.")
    with _connected(source) as http:
        nodes = _call(source, http, "GET", "/_nodes/http", "reading the versions of the nodes")["nodes"]
    for node in nodes.values():
        if int(node["version"].partition(".")[0]) < OLDEST:
            raise DataReadError(
                f"Source {source.name}: Elasticsearch {node['version']} is not supported, use {OLDEST}.0 or newer."
            )


def list_tables(source: Entity) -> list[tuple[str, str]]:
    """(index or alias, mapping) of all that the source's user may see."""
    hidden = bool(source.body["config"].get("showHiddenIndices"))
    options = {"expand_wildcards": "open,hidden" if hidden else "open"}
    with _connected(source) as http:
        indices = _call(source, http, "GET", "/_alias", "listing the indices", params=options)
    names = {*indices, *(alias for index in indices.values() for alias in index["aliases"])}
    return [(name, MAPPING) for name in sorted(names) if hidden or not name.startswith(".")]


def describe(source: Entity, index: str) -> list[Field]:
    """The fields of an index or alias: by its mappings, and by a sample which of them hold lists."""
    with _connected(source) as http:
        answer = _call(source, http, "GET", f"/{quote(index, safe='')}/_mapping", f"reading the mapping of [{index}]")
        fields = merged([fields_of(one["mappings"].get("properties", {})) for one in answer.values()])
        page = _search(source, http, index, {"size": SAMPLE_ROWS})
    return with_lists(fields, [hit.get("_source") or {} for hit in page["hits"]["hits"]])


def pages(source: Entity, index: str) -> Iterator[list[dict[str, Any]]]:
    """All documents, as the hits of each page of a scroll; raises DataReadError if one of them would be left out."""
    config = source.body["config"]
    keep = f"{int(config.get('scrollTimeoutMillis', 300_000))}ms"
    with _connected(source) as http:
        body = {"size": int(config.get("scrollSize", SAMPLE_ROWS)), "sort": ["_doc"], "track_total_hits": True}
        page = _search(source, http, index, body, scroll=keep)
        total, seen = int(page["hits"]["total"]["value"]), 0
        try:
            while page["hits"]["hits"]:
                seen += len(page["hits"]["hits"])
                yield page["hits"]["hits"]
                if seen >= total:
                    break
                body = {"scroll": keep, "scroll_id": page["_scroll_id"]}
                page = _whole(source, _call(source, http, "POST", "/_search/scroll", f"reading [{index}]", json=body))
        finally:
            with suppress(httpx.HTTPError):  # the server forgets it when its time is over
                http.request("DELETE", "/_search/scroll", json={"scroll_id": page["_scroll_id"]})
    if seen < total and not config.get("warnOnRowCountMismatch"):
        raise DataReadError(
            f"Elastic query terminated as Dremio didn't receive as many results as expected: {seen} of {total}"
            f" documents of [{index}]."
        )


def _search(source: Entity, http: httpx.Client, index: str, body: dict[str, Any], **options: str) -> Any:
    path = f"/{quote(index, safe='')}/_search"
    options["allow_partial_search_results"] = "false"
    return _whole(source, _call(source, http, "POST", path, f"reading [{index}]", json=body, params=options))


def _whole(source: Entity, page: Any) -> Any:
    if page.get("timed_out") or page["_shards"]["failed"]:
        raise DataReadError(f"Source {source.name}: Elasticsearch answered with a part of the documents; try again.")
    return page


@contextmanager
def _connected(source: Entity) -> Iterator[httpx.Client]:
    """A client of the first host that answers."""
    config = source.body["config"]
    secure = bool(config.get("sslEnabled"))
    failures = []
    for host in config["hostList"]:
        address = f"{'https' if secure else 'http'}://{host['hostname']}:{host.get('port') or 9200}"
        with httpx.Client(
            base_url=address,
            auth=(config.get("username") or "", config.get("password") or "")
            if config.get("authenticationType") == "MASTER"
            else None,
            timeout=httpx.Timeout(int(config.get("readTimeoutMillis", 60_000)) / 1000, connect=CONNECT_SECONDS),
            verify=_tls(config.get("encryptionValidationMode")) if secure else False,
            trust_env=False,
        ) as http:
            try:
                http.request("HEAD", "/")
            except httpx.HTTPError as error:
                failures.append(f"{address}: {error}")
                continue
            yield http
            return
    raise DataReadError(f"Source {source.name}: Elasticsearch did not answer at {'; '.join(failures)}")


def _tls(mode: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if mode in ("CERTIFICATE_ONLY_VALIDATION", "NO_VALIDATION"):
        context.check_hostname = False
    if mode == "NO_VALIDATION":
        context.verify_mode = ssl.CERT_NONE
    return context


def _call(source: Entity, http: httpx.Client, method: str, path: str, doing: str, **options: Any) -> Any:
    """What the cluster answers; raises DataReadError."""
    try:
        answer = http.request(method, path, **options)
    except httpx.HTTPError as error:
        raise DataReadError(f"Source {source.name}: {http.base_url} did not answer when {doing}: {error}") from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise DataReadError(
            f"Source {source.name}: Unauthorized to connect to Elasticsearch cluster. Please make sure that the"
            " username and the password provided are correct."
        )
    if not answer.is_success:
        raise DataReadError(
            f"Source {source.name}: Failure executing Elastic request when {doing}: HTTP {answer.status_code}."
            f" {_reason(answer)}"
        )
    return json.loads(answer.content, parse_float=str)  # a text of digits stays as it was written


def _reason(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["reason"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
