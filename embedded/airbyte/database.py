"""The tables of the embedded Airbyte in PostgreSQL and the pool of connections to them."""

from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

Row = dict[str, Any]
Db = Connection[Row]

# Only one server may work on a database: it takes this advisory lock for as long as it lives.
SERVER_LOCK = 0x61697262797465

SCHEMA = """
CREATE TABLE IF NOT EXISTS workspace (
    workspace_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS declarative_definition (
    definition_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspace,
    name text NOT NULL,
    manifest json NOT NULL, -- not jsonb: the order of a schema's properties is that of the columns
    version integer NOT NULL DEFAULT 1,
    deleted boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS actor (
    actor_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('source', 'destination')),
    workspace_id uuid NOT NULL REFERENCES workspace,
    definition_id uuid NOT NULL,
    type text NOT NULL,
    name text NOT NULL,
    configuration jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS connection (
    connection_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspace,
    source_id uuid NOT NULL REFERENCES actor,
    destination_id uuid NOT NULL REFERENCES actor,
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'inactive', 'deprecated')),
    schedule jsonb NOT NULL,
    namespace_definition text NOT NULL,
    namespace_format text,
    prefix text NOT NULL DEFAULT '',
    schema_changes text NOT NULL,
    streams jsonb NOT NULL,
    tags jsonb NOT NULL DEFAULT '[]',
    lakehouse jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS job (
    job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id uuid NOT NULL REFERENCES connection,
    config_type text NOT NULL CHECK (config_type IN ('sync', 'reset_connection', 'clear')),
    status text NOT NULL
        CHECK (status IN ('pending', 'running', 'incomplete', 'succeeded', 'failed', 'cancelled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- the second sync of a connection is refused here, whatever two requests do at the same instant
CREATE UNIQUE INDEX IF NOT EXISTS job_active ON job (connection_id)
    WHERE status IN ('pending', 'running', 'incomplete');
CREATE INDEX IF NOT EXISTS job_connection ON job (connection_id, job_id);
CREATE TABLE IF NOT EXISTS attempt (
    job_id bigint NOT NULL REFERENCES job,
    number integer NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'failed', 'succeeded')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    failures jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (job_id, number)
);
-- apart from the attempt, so that what a checkpoint writes does not grow with the number of streams
CREATE TABLE IF NOT EXISTS stream_stats (
    job_id bigint NOT NULL,
    attempt integer NOT NULL,
    stream text NOT NULL,
    counters jsonb NOT NULL,
    PRIMARY KEY (job_id, attempt, stream),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt
);
-- where they were once
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = 'attempt'::regclass AND attname = 'stream_stats' AND NOT attisdropped) THEN
        INSERT INTO stream_stats SELECT job_id, number, key, value FROM attempt, jsonb_each(stream_stats);
        ALTER TABLE attempt DROP COLUMN stream_stats;
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS log_line (
    line_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL,
    attempt integer NOT NULL,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    level text NOT NULL,
    message text NOT NULL,
    FOREIGN KEY (job_id, attempt) REFERENCES attempt
);
CREATE INDEX IF NOT EXISTS log_line_attempt ON log_line (job_id, attempt, line_id);
CREATE TABLE IF NOT EXISTS airbyte_state (
    connection_id uuid PRIMARY KEY,
    state jsonb NOT NULL,
    updated_at timestamp DEFAULT now()
);
-- per stream of a connection: its generation, the columns (name -> type) that its last sync saw, and those that any
-- sync has delivered
CREATE TABLE IF NOT EXISTS stream_record (
    connection_id uuid NOT NULL,
    stream text NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    generation_job bigint,
    columns jsonb,
    PRIMARY KEY (connection_id, stream)
);
ALTER TABLE stream_record ADD COLUMN IF NOT EXISTS delivered jsonb;
-- how many states that cover rows of the stream were stored
ALTER TABLE stream_record ADD COLUMN IF NOT EXISTS commits bigint NOT NULL DEFAULT 0;
"""


def open_pool(url: str) -> ConnectionPool[Db]:
    """A pool whose connections are checked before use, so that a restarted database is met with new ones."""
    return ConnectionPool(
        url,
        min_size=1,
        max_size=8,
        timeout=10,
        open=True,
        kwargs={"row_factory": dict_row, "application_name": "embedded-airbyte"},
        check=ConnectionPool.check_connection,
        connection_class=Connection[Row],
    )


def create_tables(pool: ConnectionPool[Db]) -> None:
    """Create what is missing; changes nothing that is there."""
    with pool.connection() as db:
        db.execute("SELECT pg_advisory_xact_lock(%s)", (SERVER_LOCK + 1,))
        db.execute(SCHEMA)
