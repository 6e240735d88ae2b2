"""Superset's dashboards compared with a bundle, and made equal. Nothing is deleted."""

import logging
from collections.abc import Sequence

from lakehouse.superset.bundle import KINDS, Bundle, Difference, Item, differences
from lakehouse.superset.connection import masked
from lakehouse.superset.exceptions import DashboardsNotApplied, SupersetDatabaseError
from lakehouse.superset.hook import SupersetHook

log = logging.getLogger(__name__)


def plan(hook: SupersetHook, bundle: Bundle, dashboards: list[str]) -> list[str]:
    """Return what `apply` would create or correct, one line each; changes nothing.

    :param bundle: with the databases' URIs, passwords included.
    :param dashboards: slugs.
    :raises SupersetDatabaseError: Superset cannot log in to a database, nor with the password of the bundle.
    """
    found = differences(shown(bundle), hook.export_existing(dashboards))
    imported = {one.item.uuid for one in found}  # with their passwords
    refused = [item for item in bundle.of("databases") if item.uuid not in imported and _refused(hook, item)]
    return [str(one) for one in found] + [f"{item.title}: password" for item in refused]


def apply(hook: SupersetHook, bundle: Bundle, dashboards: list[str]) -> list[str]:
    """Import what differs, and compare again; return one line for each object that was created or corrected.

    :raises SupersetDatabaseError: Superset cannot log in to a database.
    :raises DashboardsNotApplied: Superset took the import, yet differs from the bundle afterwards.
    """
    found = differences(shown(bundle), hook.export_existing(dashboards))
    for difference in found:
        log.info("%s", difference)
    import_differences(hook, bundle, found)
    repaired = []
    for item in bundle.of("databases"):
        if _refused(hook, item):
            log.info("%s: the password in Superset was an old one", item.title)
            import_differences(hook, bundle, [Difference(item, ("password",))])
            repaired.append(f"{item.title}: password")
    if found and (left := differences(shown(bundle), hook.export_existing(dashboards))):
        raise DashboardsNotApplied(hook.settings.url, [str(one) for one in left])
    return [str(one) for one in found] + repaired


def _refused(hook: SupersetHook, database: Item) -> bool:
    """Whether Superset cannot connect with the password that it has, but could with the bundle's.

    :raises SupersetDatabaseError: it could with neither.
    """
    name, uri = database.content["database_name"], database.content["sqlalchemy_uri"]
    if hook.database_error(name, masked(uri)) is None:
        return False
    if (error := hook.database_error(name, uri)) is not None:
        raise SupersetDatabaseError(
            f"Superset cannot connect to database {name!r} at {masked(uri)}: {error}. Check that this "
            "address is reachable from Superset, and the login of the Airflow connection."
        )
    return True


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
