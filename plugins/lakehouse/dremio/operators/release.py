"""Claim a slot for the marts, release them to readers, or go back to the release before."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.ops import releases
from lakehouse.ops.batch import batch_date
from lakehouse.ops.lease import Lease, holder_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.dremio.hook import DremioHook

LEASE = "release"
JOURNAL = 1000  # releases looked back at; failed ones count too


class _SwitchOperator(BaseOperator):
    """What release and rollback share: switching views under a lease, every step in the journal."""

    template_fields: Sequence[str] = ("dremio_conn_id",)
    ui_color = "#b8e6d0"

    def __init__(
        self,
        *,
        lakehouse_conn_id: str = "lakehouse_db",
        dremio_conn_id: str = "dremio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lakehouse_conn_id = lakehouse_conn_id
        self.dremio_conn_id = dremio_conn_id

    @cached_property
    def hook(self) -> "DremioHook":
        """Hook of this task."""
        from lakehouse.dremio.hook import DremioHook

        return DremioHook(self.dremio_conn_id)

    def _lease(self, context: "Context") -> Lease:
        return Lease(self.lakehouse_conn_id, LEASE, holder=holder_of(context))

    def _switch(self, run_id: str, views: Mapping[str, str], lease: Lease) -> list[str]:
        """Make the views of `gold` show `views` and note it; returns the names that had to change."""
        from lakehouse.dremio import release

        release.check_targets(self.hook, list(views))  # from here on nobody may build before this is done
        releases.mark(self.lakehouse_conn_id, run_id, "switching", views=views, lease=lease)
        changed = self._replace(views, lease)
        left = release.pending(release.current_definitions(self.hook, list(views)), views)
        if left:
            raise releases.ReleaseRefused(
                f"these views do not show what they were switched to: {', '.join(sorted(left))}. "
                "Somebody else writes to the space gold; clear this task to switch again."
            )
        releases.mark(self.lakehouse_conn_id, run_id, "released", lease=lease)
        return changed

    def _replace(self, views: Mapping[str, str], lease: Lease) -> list[str]:
        from lakehouse.dremio import release

        open_views = release.pending(release.current_definitions(self.hook, list(views)), views)
        for name, sql in open_views.items():
            lease.check()
            release.switch(self.hook, name, sql)
            self.log.info("gold.%s: %s", name, sql)
        return sorted(open_views)


class DremioClaimSlotOperator(_SwitchOperator):
    """Claim for this run the slot of the marts that readers do not see; see `lakehouse.ops.releases.claim_slot`.

    Safe to repeat: the same slot until the run has released it. If a switch by this same run could not be completed
    (Dremio refuses one of the views, again and again), it is taken back first: the views that it changed show the
    release before it again, those that this has not are dropped, and a new release begins. That is the way out of
    such a switch, which otherwise nobody may build beside.

    Example::

        DremioClaimSlotOperator(task_id="claim_slot") >> models

    Returns (XCom) "a" or "b".

    :param lakehouse_conn_id: Airflow connection of the run records' database (journal and lease).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated); used only to take a switch back.
    """

    def execute(self, context: "Context") -> str:
        """Claim the slot.

        :raises ReleaseRefused: another run's switch was interrupted; says which.
        :raises LeaseHeld, LeaseLost: a release is at work.
        :raises DremioError: a switch could not be taken back.
        """
        run_id = context["ti"].run_id
        with self._lease(context) as lease:
            unfinished = releases.unfinished_switch(self.lakehouse_conn_id)
            if unfinished is not None and unfinished.run_id == run_id:
                self._take_back(unfinished, lease)
            return releases.claim_slot(self.lakehouse_conn_id, run_id, batch_date(context))

    def _take_back(self, unfinished: releases.Release, lease: Lease) -> None:
        from lakehouse.dremio import release

        known = releases.journal(self.lakehouse_conn_id, JOURNAL)
        live = next((r for r in known if r.state == "released"), None)
        before = dict(live.views or {}) if live else {}
        changed = self._replace(before, lease)
        for name in sorted(set(unfinished.views or {}) - set(before)):
            lease.check()
            release.drop(self.hook, name)
        reason = "its switch could not be completed and was taken back"
        releases.mark(self.lakehouse_conn_id, unfinished.run_id, "failed", reason=reason, lease=lease)
        self.log.warning(
            "Release %d: %s; changed back: %s", unfinished.release_id, reason, ", ".join(changed) or "none"
        )


class DremioReleaseOperator(_SwitchOperator):
    """Show readers the marts that this run built: switch all views of the space `gold` to its slot.

    Before the first view is touched every mart is checked to be there, and every view to be one. The views are
    replaced one right after the other, under a lease, so of two copies of the task only the newer one writes; the
    release journal notes building, switching and released. Killed midway, a rerun completes it (if Dremio does not
    let it, DremioClaimSlotOperator takes it back); run again after success, it finds nothing to do. It refuses when
    another run has taken the slot meanwhile. A view of a mart that is not released any more is named in a warning,
    not removed.

    Example::

        DremioReleaseOperator(task_id="release", marts=["orders", "customers", "fct_daily_revenue"], retries=2)

    Returns (XCom) `{"slot": str, "views": [all], "switched": [those that changed]}`.

    :param marts: names of the marts, the same for table and view (templated).
    :param lakehouse_conn_id: Airflow connection of the run records' database (journal and lease).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    template_fields: Sequence[str] = ("marts", "dremio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"marts": "json"}

    def __init__(self, *, marts: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.marts = marts

    def execute(self, context: "Context") -> dict[str, Any]:
        """Switch the views.

        :raises ReleaseRefused: the run has no slot, or lost it to another run; says what to do.
        :raises LeaseHeld, LeaseLost: another release is at work.
        :raises DremioError: marts are missing, or Dremio refused a view; names them.
        """
        from lakehouse.dremio import release

        run_id = context["ti"].run_id
        with self._lease(context) as lease:
            mine = releases.current(self.lakehouse_conn_id, run_id)
            if mine is None:
                raise releases.ReleaseRefused(f"run {run_id} has claimed no slot: run its marts group first")
            if mine.state == "released":
                return self._repeat(mine, lease)
            if mine.state != "switching":
                releases.mark(self.lakehouse_conn_id, run_id, "built", lease=lease)
            views = release.view_definitions(self.hook, mine.slot, self.marts)
            changed = self._switch(run_id, views, lease)
        self.log.info("Slot %s is released: %s of %s views switched", mine.slot, len(changed), len(views))
        for name in release.left_behind(self.hook, list(views)):
            self.log.warning("gold.%s is no mart of this release and shows an older batch: drop it", name)
        return {"slot": mine.slot, "views": sorted(views), "switched": changed}

    def _repeat(self, mine: releases.Release, lease: Lease) -> dict[str, Any]:
        """The run has released already: mend what drifted, unless a newer release is what readers see."""
        views = dict(mine.views or {})
        newest = next(r for r in releases.journal(self.lakehouse_conn_id, JOURNAL) if r.state == "released")
        if newest.release_id != mine.release_id:
            self.log.info("Released already, and followed by the release of run %s", newest.run_id)
            return {"slot": mine.slot, "views": sorted(views), "switched": []}
        changed = self._replace(views, lease)
        self.log.info("Released already; %s", f"{len(changed)} views mended" if changed else "nothing to do")
        return {"slot": mine.slot, "views": sorted(views), "switched": changed}


class DremioRollbackOperator(_SwitchOperator):
    """Show readers the release before the present one again, as it was: the other slot, if it is untouched.

    It is a release of its own in the journal, so the next batch builds the slot that readers no longer see.
    Killed midway, a rerun completes it.

    Example::

        DremioRollbackOperator(task_id="roll_back", retries=2)

    Returns (XCom) `{"slot": str, "views": [all], "switched": [...], "batch_date": "YYYY-MM-DD"}`.

    :param lakehouse_conn_id: Airflow connection of the run records' database (journal and lease).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    def execute(self, context: "Context") -> dict[str, Any]:
        """Switch the views back.

        :raises ReleaseRefused: there is no earlier release, or its slot has been built over since.
        """
        run_id = context["ti"].run_id
        with self._lease(context) as lease:
            mine = releases.current(self.lakehouse_conn_id, run_id)
            if mine is None or mine.state in ("building", "failed"):
                target = self._target(run_id)
                releases.claim_slot(self.lakehouse_conn_id, run_id, target.batch_date)
                target = self._target(run_id)  # again, now that nobody else can claim the slot unseen
                mine = releases.mark(self.lakehouse_conn_id, run_id, "built", views=target.views, lease=lease)
            views = dict(mine.views or {})
            if mine.state == "released":
                return self._result(mine, views, [])
            changed = self._switch(run_id, views, lease)
        return self._result(mine, views, changed)

    def _target(self, run_id: str) -> releases.Release:
        """The release to go back to: the newest of the slot that is not live, completed and untouched since."""
        newest_first = [r for r in releases.journal(self.lakehouse_conn_id, JOURNAL) if r.run_id != run_id]
        live = next((r for r in newest_first if r.state == "released"), None)
        last = next((r for r in newest_first if live and r.slot != live.slot), None)
        if live is None or last is None:
            raise releases.ReleaseRefused("there is no earlier release to go back to")
        if last.state != "released":
            raise releases.ReleaseRefused(
                f"slot {last.slot} no longer holds the earlier release: run {last.run_id} has built in it "
                f"(state {last.state}). Repair the present batch by running its DAG again."
            )
        return last

    @staticmethod
    def _result(mine: releases.Release, views: Mapping[str, str], changed: list[str]) -> dict[str, Any]:
        return {
            "slot": mine.slot,
            "views": sorted(views),
            "switched": changed,
            "batch_date": mine.batch_date.isoformat(),
        }
