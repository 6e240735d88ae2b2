"""A dashboard as code: made from files, its cache renewed, and written back to files.

The view that the dashboard shows is made in Dremio, then the dashboard with its chart, dataset and database in
Superset, from the bundle in `include/superset`. What Superset has cached of the view is forgotten, in whichever chart,
and the dashboard's charts are warmed, so that the first person who opens it waits for nothing. At last it is exported
to a folder, as one does with dashboards that people edit, and compared with the bundle.
"""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.superset.operators import (
    SupersetApplyOperator,
    SupersetExportOperator,
    SupersetInvalidateOperator,
    SupersetWarmUpOperator,
)

HERE = Path(__file__).parent
DECLARATION = str(HERE / "include" / "pipelines" / "dashboards.yaml")
BUNDLE = str(HERE / "include" / "superset")


@task
def copied_bundle() -> str:
    """A copy of the bundle, which the export may write to."""
    return shutil.copytree(BUNDLE, tempfile.mkdtemp(prefix="bundle-"), dirs_exist_ok=True)


@task
def nothing_was_edited(export: dict[str, list[str]], folder: str) -> None:
    """Fail if a person has changed the dashboard; where files are kept in a version control, commit them here."""
    shutil.rmtree(folder)
    assert not export["written"], export["written"]


with DAG(
    "example_superset",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    views = DremioApplyOperator(task_id="views", path=str(HERE / "dashboard_views.yaml"), parts=["spaces", "views"])
    apply = SupersetApplyOperator(task_id="apply", declaration=DECLARATION)
    invalidate = SupersetInvalidateOperator(task_id="invalidate", datasets=["examples_gold.daily_revenue"])
    warm_up = SupersetWarmUpOperator(task_id="warm_up", declaration=DECLARATION)
    copied = copied_bundle()
    export = SupersetExportOperator(task_id="export", dashboards=["lakehouse-example"], folder=copied)
    views >> apply >> invalidate >> warm_up >> copied
    export >> nothing_was_edited(export.output, copied)
