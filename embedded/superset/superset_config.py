"""Superset's configuration in the embedded stack; Superset loads it through `SUPERSET_CONFIG_PATH`.

Reads from the environment: `SUPERSET_DATABASE_URL` (PostgreSQL, Superset's own metadata),
`SUPERSET_SECRET_KEY` and `SUPERSET_CACHE_DIR` (a folder of its own, where chart results outlive a restart).
"""

import copy
import os
from datetime import timedelta

from sqlalchemy import types
from sqlalchemy_dremio import query as dremio_query
from superset import config as defaults

SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_DATABASE_URL"]
SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]

# One process serves a few people and Dremio holds the data: small pool, dead connections found before use.
SQLALCHEMY_ENGINE_OPTIONS = {"pool_size": 5, "max_overflow": 10, "pool_pre_ping": True}

# A chart's result is good until the next release of `gold`, which warms every chart again; two days leave
# room for one daily run to be late. Both caches must be the same store with the same prefix: only then does
# `/api/v1/cachekey/invalidate` find what chart requests have written.
_CHART_RESULTS_LIVE = timedelta(days=2)
_CACHE_FOLDER = os.environ["SUPERSET_CACHE_DIR"]
os.makedirs(_CACHE_FOLDER, mode=0o700, exist_ok=True)
DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "FileSystemCache",
    "CACHE_DIR": _CACHE_FOLDER,
    "CACHE_THRESHOLD": 20_000,  # entries; beyond it expired ones, then arbitrary ones, are removed
    "CACHE_DEFAULT_TIMEOUT": int(_CHART_RESULTS_LIVE.total_seconds()),
    "CACHE_KEY_PREFIX": "superset_",
}
CACHE_CONFIG = DATA_CACHE_CONFIG
STORE_CACHE_KEYS_IN_METADATA_DB = True
# Filter state and explore form data stay where Superset puts them by default: in its metadata database.

# Sent nowhere: the welcome page's tracking pixel is refused by the browser through this policy.
TALISMAN_CONFIG = copy.deepcopy(defaults.TALISMAN_CONFIG)
TALISMAN_CONFIG["content_security_policy"]["img-src"] = ["'self'", "blob:", "data:"]
TALISMAN_CONFIG["content_security_policy"]["connect-src"] = ["'self'"]

# Logins are limited against guessing. Charts are not: a dashboard asks for all of its charts at once.
RATELIMIT_ENABLED = True
RATELIMIT_APPLICATION = "200 per second"
AUTH_RATE_LIMIT = "5 per second"

# Longest time that a request may take, for the browser too; Dremio's own limits are shorter.
SUPERSET_WEBSERVER_TIMEOUT = 120

# sqlalchemy-dremio 3.0.4 knows timestamps of pandas' default precision only; Dremio's have milliseconds, and a
# query that returned one would end in KeyError: 'datetime64[ms]'.
dremio_query._type_map["datetime64[ms]"] = types.DATETIME
