"""Writers and readers at once: nothing fails, and nothing is lost."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

SECONDS = 12


def test_tables_are_made_and_dropped_while_others_read(rest, source):
    """DuckLake from DuckDB 1.5.3 to 1.5.5 frees the schemas of a transaction that still runs, and crashes on it."""
    folder = f"{source}.busy_{uuid.uuid4().hex[:8]}"
    digits = ", ".join(f"({digit})" for digit in range(10))
    numbers = f"SELECT a.n + 10 * b.n AS id, a.n AS part FROM (VALUES {digits}) AS a(n), (VALUES {digits}) AS b(n)"
    for n in range(12):
        rest.run(f"CREATE TABLE {folder}.steady_{n} AS {numbers}")
    until = time.monotonic() + SECONDS

    def write(worker):
        made = 0
        while time.monotonic() < until:
            rest.run(f"CREATE TABLE {folder}.made_{worker} PARTITION BY (part) AS {numbers}")
            rest.run(f"INSERT INTO {folder}.made_{worker} {numbers}")
            assert rest.rows(f"SELECT COUNT(*) AS n FROM {folder}.made_{worker}") == [{"n": "200"}]
            rest.run(f"DROP TABLE {folder}.made_{worker}")
            made += 1
        return made

    def read(worker):
        read = 0
        while time.monotonic() < until:
            table = f"{folder}.steady_{(read + worker) % 12}"
            assert rest.rows(f"SELECT SUM(id) AS total, {read} AS turn FROM {table}")[0]["total"] == "4950"
            read += 1
        return read

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, n) for n in range(2)]
        readers = [pool.submit(read, n) for n in range(3)]
        assert min(each.result() for each in (*writers, *readers)) > 2
