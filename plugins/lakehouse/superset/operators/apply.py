"""Brings Superset to the dashboards that are declared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from lakehouse.ops.declarations import load
from lakehouse.superset.bundle import KINDS, Bundle, Difference, Item, differences
from lakehouse.superset.connection import masked
from lakehouse.superset.declared import FILE, Dashboards, with_database
from lakehouse.superset.exceptions import DashboardsNotApplied, SupersetDatabaseError
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.links import SupersetDashboardsLink, dashboards_url

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupersetApplyOperator(BaseOperator):
    """Create or correct the declared dashboards, with their charts, datasets and database.

    Compares what Superset holds with the bundle and imports the objects that differ, and only those: an import
    of a dataset changes its time of change, and with it every cache key of its charts. Each difference is
    logged as it is found. Nothing is deleted. Applying twice changes nothing. Interrupted anywhere, a rerun
    finishes it.

    The database's URI is made from the Airflow connection that the declaration names, and Superset is asked to
    connect with it; a password that was changed in Airflow is passed on.

    :param declaration: YAML file as in `lakehouse.superset.declared.Dashboards`; a relative path is looked for
        in `include/pipelines`. (templated)
    :param superset_conn_id: Airflow connection of type `superset`. (templated)
    :return: one line for each object that was created or corrected.
    :raises SupersetDatabaseError: Superset cannot log in to the database.
    :raises DashboardsNotApplied: Superset took the import, yet differs from the bundle afterwards.

    Example::

        SupersetApplyOperator(task_id="apply_dashboards", declaration="dashboards.yaml")
    """

    template_fields: Sequence[str] = ("declaration", "superset_conn_id")
    operator_extra_links: Sequence[BaseOperatorLink] = (SupersetDashboardsLink(),)
    ui_color = "#d6f1f7"

    def __init__(
        self,
        *,
        declaration: str = FILE,
        superset_conn_id: str = SupersetHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.declaration = declaration
        self.superset_conn_id = superset_conn_id

    def execute(self, context: "Context") -> list[str]:
        """Compare, import what differs, and compare again."""
        declared = load(self.declaration, Dashboards)
        bundle = with_database(declared.read_bundle(), SupersetHook.get_connection(declared.database_connection))
        hook = SupersetHook(self.superset_conn_id)
        url = hook.settings.url
        context["ti"].xcom_push(key=SupersetDashboardsLink().xcom_key, value=dashboards_url(url, declared.dashboards))
        found = differences(shown(bundle), hook.export_existing(declared.dashboards))
        for difference in found:
            self.log.info("%s", difference)
        import_differences(hook, bundle, found)
        repaired = self._check_databases(hook, bundle)
        if found and (left := differences(shown(bundle), hook.export_existing(declared.dashboards))):
            raise DashboardsNotApplied(url, [str(one) for one in left])
        if not found and not repaired:
            self.log.info("Superset at %s has everything as declared; nothing was changed.", url)
        return [str(one) for one in found] + repaired

    def _check_databases(self, hook: SupersetHook, bundle: Bundle) -> list[str]:
        """Let Superset connect; where it cannot with the password it has, give it the connection's."""
        repaired = []
        for item in bundle.of("databases"):
            name, uri = item.content["database_name"], item.content["sqlalchemy_uri"]
            if hook.database_error(name, masked(uri)) is None:
                continue
            if (error := hook.database_error(name, uri)) is not None:
                raise SupersetDatabaseError(
                    f"Superset cannot connect to database {name!r} at {masked(uri)}: {error}. Check that this "
                    "address is reachable from Superset, and the login of the Airflow connection."
                )
            self.log.info("%s: the password in Superset was an old one", item.title)
            import_differences(hook, bundle, [Difference(item, ("password",))])
            repaired.append(f"{item.title}: password")
        return repaired


def shown(bundle: Bundle) -> Bundle:
    """Return the bundle as Superset would show it: with passwords masked."""
    for item in bundle.of("databases"):
        content = {**item.content, "sqlalchemy_uri": masked(item.content["sqlalchemy_uri"])}
        bundle = bundle.replaced(Item(item.kind, item.file, content))
    return bundle


def import_differences(hook: SupersetHook, bundle: Bundle, found: Sequence[Difference]) -> None:
    """Import the objects that differ, kind by kind, together with what they refer to.

    Superset overwrites the objects of the kind that is imported and leaves the others, once they exist.
    """
    kinds = list(KINDS)
    without_passwords = shown(bundle)
    for kind in kinds:
        changed = {one.item.uuid for one in found if one.item.kind == kind}
        if not changed:
            continue
        below = [item for name in kinds[: kinds.index(kind)] for item in without_passwords.of(name)]
        items = [*below, *(bundle.items[uuid] for uuid in sorted(changed))]
        hook.import_objects(kind, Bundle({item.uuid: item for item in items}))
