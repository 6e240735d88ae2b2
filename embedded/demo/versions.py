"""Which version of a changing thing (a customer's address, a product's price) is current, and since when."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from embedded.demo.draws import DAY_US, IntArray, day_generator, midnight_us


@dataclass
class Versions:
    """For ids 1..n, at position id - 1: number of the current version and when it came (0: never changed)."""

    number: IntArray
    changed_us: IntArray

    @classmethod
    def none_yet(cls, count: int) -> Versions:
        """Nothing has changed yet."""
        return cls(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def apply(self, ids: IntArray, moments: IntArray) -> None:
        """The things `ids` change, at `moments`; the arrays must be long enough for the largest id."""
        self.number[ids - 1] += 1
        self.changed_us[ids - 1] = moments


def changes(seed: int, subject: str, day: datetime.date, count: int, share: float) -> tuple[IntArray, IntArray]:
    """Which of the things 1..count change on `day`, and when (microseconds from 1970); each once at most."""
    generator = day_generator(seed, f"{subject} changes", day)
    ids = np.unique(generator.integers(1, count + 1, size=generator.binomial(count, share)))
    return ids, midnight_us(day) + generator.integers(0, DAY_US, size=len(ids))
