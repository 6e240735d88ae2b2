"""Makes Superset forget the cached results of datasets whose data has changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.superset.exceptions import NotInvalidated, SupersetHttpError
from lakehouse.superset.hook import SupersetHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupersetInvalidateOperator(BaseOperator):
    """Remove the cached chart results of these datasets, and of no others: their charts are computed anew when shown.

    For what no warm-up reaches: charts outside of the declared dashboards, and filters that people chose themselves.
    Superset answers 201 whether or not it removed anything, so one cached result is asked for afterwards: it must be
    gone. Running it again is harmless.

    :param datasets: names as Superset shows them, `schema.table` or only the table; a name in several databases means
        all of them, a virtual dataset has a name of its own. (templated)
    :param schema: of the names that have none. (templated)
    :param required: False to warn where Superset keeps the results all the same, for a pipeline that must go on.
    :param superset_conn_id: Airflow connection of type `superset`. (templated)
    :return: `{"invalidated": [names], "unknown": [names that are no dataset in Superset]}`.
    :raises NotInvalidated: Superset still answers from the cache, and `required`; says which settings it needs.
    :raises SupersetError: Superset does not answer or refuses the login.

    Example::

        release = DremioReleaseOperator(task_id="release", marts=[...], multiple_outputs=True)
        SupersetInvalidateOperator(task_id="invalidate", datasets=release.output["views"], schema="gold")
    """

    template_fields: Sequence[str] = ("datasets", "schema", "superset_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"datasets": "json"}
    ui_color = "#d6f1f7"

    def __init__(
        self,
        *,
        datasets: Sequence[str],
        schema: str | None = None,
        required: bool = True,
        superset_conn_id: str = SupersetHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.schema = schema
        self.required = required
        self.superset_conn_id = superset_conn_id

    def execute(self, context: "Context") -> dict[str, list[str]]:
        """Find the datasets, have a result cached, remove the results, and see that it is gone."""
        if isinstance(self.datasets, str):
            raise ValueError(f"datasets is {self.datasets!r}, expected a list of names")
        hook = SupersetHook(self.superset_conn_id)
        ids: dict[str, list[int]] = {}
        for name in self.datasets:
            schema, _, table = name.rpartition(".")
            ids[name] = hook.find_datasets(table, schema or self.schema)
        numbers = [number for found in ids.values() for number in found]
        # asked twice, for the first answer may only fill the cache
        witness = next((one for one in numbers if any(_from_cache(hook, one) for _ in range(2))), None)
        if numbers:
            hook.invalidate(numbers)
        if witness is None:
            self.log.info("Superset had nothing of these in its cache")
        elif _from_cache(hook, witness):
            kept = NotInvalidated(hook.settings.url, witness)
            if self.required:
                raise kept
            self.log.warning("%s", kept)
        result = {
            "invalidated": [name for name, found in ids.items() if found],
            "unknown": [name for name, found in ids.items() if not found],
        }
        self.log.info("Cached results removed: %s", ", ".join(result["invalidated"]) or "none")
        if result["unknown"]:
            self.log.info("No dataset in Superset: %s", ", ".join(result["unknown"]))
        return result


def _from_cache(hook: SupersetHook, dataset: int) -> bool:
    """Count a dataset's rows as a chart would; tell whether the answer came from the cache."""
    count = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "rows_now"}
    body = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [{"columns": [], "metrics": [count], "row_limit": 1}],
        "result_format": "json",
        "result_type": "full",
    }
    try:
        response = hook.session.request("POST", "/api/v1/chart/data", json=body)
    except SupersetHttpError:  # a table that is gone; its old results are to go too
        return False
    # 202: it is computed by a Celery worker, so it was not in the cache
    return response.status_code == 200 and all(one.get("is_cached") for one in response.json()["result"])
