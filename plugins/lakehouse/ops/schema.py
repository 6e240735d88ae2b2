"""The tables of the run records. `ensure_schema` makes them; nothing else creates or alters them."""

from lakehouse.ops.database import connect

# Raised with every change of _TABLES, which are statements that may run again on a database that has them.
VERSION = 6

_TABLES = """
CREATE TABLE IF NOT EXISTS pipeline_run (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    batch_date date,
    state text NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    summary jsonb,
    PRIMARY KEY (dag_id, run_id)
);
CREATE TABLE IF NOT EXISTS task_run (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    task_id text NOT NULL,
    map_index integer NOT NULL DEFAULT -1,
    try_number integer NOT NULL,
    state text NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    hostname text,
    log_url text,
    error text,
    remedy text,
    PRIMARY KEY (dag_id, run_id, task_id, map_index, try_number)
);
CREATE TABLE IF NOT EXISTS task_fact (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    task_id text NOT NULL,
    map_index integer NOT NULL DEFAULT -1,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dag_id, run_id, task_id, map_index, kind)
);
ALTER TABLE task_fact ADD COLUMN IF NOT EXISTS try_number integer NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS missed_deadline (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    promise text NOT NULL,
    missed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dag_id, run_id, promise)
);
CREATE TABLE IF NOT EXISTS lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
ALTER TABLE lease ADD COLUMN IF NOT EXISTS try_number integer NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS turn (
    place bigserial PRIMARY KEY,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    asked bigint NOT NULL DEFAULT 0,
    UNIQUE (dag_id, run_id)
);
CREATE TABLE IF NOT EXISTS release (
    release_id bigserial PRIMARY KEY,
    slot text NOT NULL CHECK (slot IN ('a', 'b')),
    run_id text NOT NULL,
    batch_date date NOT NULL,
    state text NOT NULL CHECK (state IN ('building', 'built', 'switching', 'released', 'failed')),
    views jsonb,
    reason text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS release_by_state ON release (state, release_id DESC);
-- a cache: with a new version of the schema it is filled anew
DROP TABLE IF EXISTS landing_object;
CREATE TABLE landing_object (
    bucket text NOT NULL,
    key text NOT NULL,
    batch_column text NOT NULL,
    size bigint NOT NULL,
    etag text NOT NULL,
    rows bigint NOT NULL,
    days jsonb NOT NULL,
    generation bigint NOT NULL,
    copyable boolean NOT NULL,
    arrow_schema bytea NOT NULL,
    changes jsonb NOT NULL,
    PRIMARY KEY (bucket, key, batch_column)
);
CREATE TABLE IF NOT EXISTS dbt_run_history (
    run_id UUID PRIMARY KEY,
    project_name VARCHAR(255),
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    status VARCHAR(50),
    models_run INTEGER,
    tests_run INTEGER,
    metadata JSONB
);
CREATE TABLE IF NOT EXISTS lakehouse_schema (version integer PRIMARY KEY);
"""
_LOCK = 7_301_553  # of pg_advisory_xact_lock: two processes that create at once would collide in pg_type
_ready: set[str] = set()  # URLs whose schema this process has seen to be current


def ensure_schema(dsn: str) -> None:
    """Create the tables of the run records where they are missing. Idempotent, safe from many processes.

    :raises psycopg2.Error: the database does not answer or its user may not create tables.
    """
    if dsn in _ready:
        return
    connection = connect(dsn, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('lakehouse_schema') IS NOT NULL")
            present = cursor.fetchone()[0]
            if present:
                cursor.execute("SELECT 1 FROM lakehouse_schema WHERE version >= %s", (VERSION,))
            if not present or cursor.fetchone() is None:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                cursor.execute(_TABLES)
                cursor.execute(
                    "INSERT INTO lakehouse_schema VALUES (%s) ON CONFLICT DO NOTHING",
                    (VERSION,),
                )
    finally:
        connection.close()
    _ready.add(dsn)
