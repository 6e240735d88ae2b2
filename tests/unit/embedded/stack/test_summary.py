"""What `make up` prints at its end, as far as a person could read it wrongly."""

import io

import pytest
from rich.console import Console

from embedded.stack.summary import print_summary


def printed(*rows: tuple[str, int]) -> str:
    out = io.StringIO()
    counts = [{"stage": stage, "dataset": "orders", "rows": number} for stage, number in rows]
    summary = {"batch_date": "2026-11-22", "run_id": "r", "state": "success", "rows": counts}
    print_summary(Console(file=out, width=120), summary)
    return out.getvalue()


@pytest.mark.parametrize(("read", "said"), [(0, True), (5, False)])
def test_rows_read_by_this_run_are_told_from_totals(read: int, said: bool) -> None:
    text = printed(("source", read), ("landing", 100), ("mart", 90))
    lines = {line.split()[1]: line for line in text.splitlines() if "orders" in line}
    assert "read by this run" in lines["source"] and "in all" in lines["landing"] and "in all" in lines["mart"]
    assert ("No new rows in the sources for this batch." in text) is said
