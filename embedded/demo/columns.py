"""Arrow columns from integers without a loop: money from cents, instants from microseconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from embedded.demo.draws import BoolArray, IntArray


def decimal_column(cents: IntArray) -> pa.Array:
    """Cents as decimal(12, 2): the 128-bit little-endian form that Arrow keeps decimals in."""
    halves = np.empty((len(cents), 2), np.int64)
    halves[:, 0] = cents
    halves[:, 1] = cents >> 63
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(halves)])


def timestamp_column(microseconds: IntArray) -> pa.Array:
    """Microseconds from 1970 as timestamps in UTC."""
    return pa.array(microseconds.astype(np.int64)).cast(pa.timestamp("us", "UTC"))


def nullable(values: IntArray, missing: BoolArray) -> pa.Array:
    """The values, null where `missing`."""
    return pa.array(values, mask=missing)
