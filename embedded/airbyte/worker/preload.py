"""What the fork server does once, so that the workers forked from it need not: imports, and first uses that import.

None of it may open a connection or file, because a fork would share it, or leave a thread that may hold a lock:
the PostgreSQL source stays out, because DuckDB starts a thread when it is imported.
"""

import pyarrow as pa

import embedded.airbyte.sources.declarative
import embedded.airbyte.sources.formats.csv_files
import embedded.airbyte.sources.s3
import embedded.airbyte.worker.attempt  # noqa: F401
from embedded.airbyte.object_store import s3_client

# the first array made of Python values imports pandas where it is installed
pa.array([0])
# the first client of a session reads the description of S3's API
s3_client("none", "none", None, None)
