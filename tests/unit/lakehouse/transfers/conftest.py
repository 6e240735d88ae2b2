"""An object store and a scripted Dremio for what joins the two."""

import pyarrow as pa
import pytest

from tests.unit.lakehouse.dremio.conftest import connection, dremio, hook, task_context  # noqa: F401
from tests.unit.lakehouse.minio.conftest import MemoryStore


class FakeFlight:
    """What ADBC gives: a connection whose cursor answers every statement with `batches`."""

    def __init__(self, batches):
        self.batches = batches
        self.statements = []
        self.cancelled = 0
        self.between = lambda number: None  # called before each batch

    def get_conn(self):
        return self

    def cursor(self):
        return self

    def close(self):
        pass

    def execute(self, sql):
        self.statements.append(sql)

    def adbc_cancel(self):
        self.cancelled += 1

    def fetch_record_batch(self):
        def steps():
            for number, batch in enumerate(self.batches):
                self.between(number)
                yield batch

        return pa.RecordBatchReader.from_batches(self.batches[0].schema, steps())


@pytest.fixture
def store(monkeypatch):
    made = MemoryStore()
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: made)
    return made


@pytest.fixture
def flight(monkeypatch):
    batches = [pa.record_batch({"id": pa.array(range(n, n + 4), pa.int64())}) for n in (0, 4, 8)]
    made = FakeFlight(batches)
    monkeypatch.setattr("lakehouse.dremio.hook.DremioHook", lambda conn_id: made)
    return made
