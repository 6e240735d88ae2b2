"""What include/pipelines declares about pipelines themselves: their groups and time limits."""

from lakehouse.ops.declarations import Declared


class Group(Declared):
    """A task group of a pipeline.

    :ivar limit_minutes: how long the group may take before the report shows it as late; None: no limit.
    """

    name: str
    title: str
    limit_minutes: float | None = None


class Pipeline(Declared):
    """A DAG whose runs are reported. The groups stand in the order in which they run."""

    dag_id: str
    groups: list[Group]


FILES = {"daily_batch.yaml": Pipeline}
