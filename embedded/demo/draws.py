"""Random numbers that depend on what they are for, never on what was drawn before.

Two sources: a generator per seed, subject and day (what happens on a day), and a hash per seed, subject and
id (what a customer or product is like), so that any row can be made alone.
"""

from __future__ import annotations

import datetime
import zlib

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DAY_US = 86_400_000_000  # microseconds in a day
HOUR_US = 3_600_000_000


def day_generator(seed: int, subject: str, day: datetime.date) -> np.random.Generator:
    """The generator of everything random about `subject` on `day`."""
    return np.random.default_rng([seed, zlib.crc32(subject.encode()), day.toordinal()])


def uniform(seed: int, subject: str, ids: IntArray, version: IntArray | int = 0) -> FloatArray:
    """One number in [0, 1) per id (and version of it), whatever other ids it is drawn with."""
    start = _mix(np.asarray([seed], dtype=np.uint64) ^ np.uint64(zlib.crc32(subject.encode()) << 20))
    bits = _mix(ids.astype(np.uint64) + start)
    bits = _mix(bits ^ (np.asarray(version).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(seed: int, subject: str, ids: IntArray, count: int, version: IntArray | int = 0) -> IntArray:
    """One number in 0..count-1 per id (and version of it)."""
    return (uniform(seed, subject, ids, version) * count).astype(np.int64)


def midnight_us(day: datetime.date) -> int:
    """Microseconds from 1970 to the start of `day` in UTC."""
    return (day - datetime.date(1970, 1, 1)).days * DAY_US


def _mix(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): each input bit changes half of the output."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
