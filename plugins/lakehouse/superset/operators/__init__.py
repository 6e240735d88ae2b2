"""Operators for Superset."""

from lakehouse.superset.operators.apply import SupersetApplyOperator
from lakehouse.superset.operators.warm_up import SupersetWarmUpOperator

__all__ = ["SupersetApplyOperator", "SupersetWarmUpOperator"]
