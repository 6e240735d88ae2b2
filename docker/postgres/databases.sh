#!/usr/bin/env bash
# Run by the PostgreSQL image when its data folder is new: one role and database for each part, as in the
# embedded stack. Passwords come from /run/secrets.
set -euo pipefail

for name in airflow superset lakehouse shop; do
  psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$name" --set password="$(<"/run/secrets/postgres_$name")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
