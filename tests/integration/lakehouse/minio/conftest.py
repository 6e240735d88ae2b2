"""What the tests of the object store share."""

import pytest

from lakehouse.minio.hook import ObjectStoreHook


@pytest.fixture
def store(stack_connections):
    return ObjectStoreHook("minio_default")
