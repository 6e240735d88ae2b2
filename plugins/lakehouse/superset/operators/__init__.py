"""Operators for Superset."""

from lakehouse.superset.operators.apply import SupersetApplyOperator
from lakehouse.superset.operators.export import SupersetExportOperator
from lakehouse.superset.operators.invalidate import SupersetInvalidateOperator
from lakehouse.superset.operators.warm_up import SupersetWarmUpOperator

__all__ = ["SupersetApplyOperator", "SupersetExportOperator", "SupersetInvalidateOperator", "SupersetWarmUpOperator"]
