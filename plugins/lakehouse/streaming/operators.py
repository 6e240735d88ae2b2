"""The operator of `cdc_streaming`."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.ops.lake import SOURCE
from lakehouse.streaming.exceptions import StreamingGaveUp, StreamingStopped

TRIGGERER_GRACE = timedelta(minutes=10)  # beyond the end; then the triggerer is held to be gone


class ContinuousSyncOperator(BaseOperator):
    """Syncs an Airbyte connection again and again, and brings what lands to Dremio within seconds.

    Each round syncs, copies the new landing objects to `<live_prefix>/<connection>/<stream>/` (inside the object
    store) and has Dremio look at the table `<source>.<live_prefix>.<connection>.<stream>`, which shows the last seven
    days. Rounds follow each other after 5 s, after up to 20 s while nothing comes. They are made in the triggerer;
    the task holds no worker.

    A sync that runs already (the daily batch's) is taken over. A round that fails is tried again; after a minute
    without success the try ends, with the reason. Killed at any instant, the next try or run goes on where Airbyte's
    committed state and the objects say: a change is delivered at least once.

    Returns (XCom) `{"rounds": int, "rows": int, "longest": seconds of the longest round}`.

    :param connection: name of the Airbyte connection, whose source lands in `<landing_prefix>/source=<connection>`
        (templated).
    :param streams: names of its streams (templated).
    :param duration: how long a run goes on, counted from its start, so that all its tasks end together.
    :param bucket: bucket of the lake (templated); None: the one that the Airflow connection names in its extra as
        `service_config: {s3: {bucket_name: ...}}`, else `datalake`.
    :param source: name of the Dremio source that shows the bucket (templated).
    :param landing_prefix: where sources land (templated).
    :param live_prefix: where the live copies stand (templated).
    :param airbyte_conn_id: Airflow connection of type `airbyte` (templated).
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    :raises StreamingStopped: no round succeeded for a minute; with the reason of the last.
    :raises StreamingGaveUp: the same when the run's time is over; not retried.

    Example::

        ContinuousSyncOperator(task_id="shop", connection="shop", streams=["orders"], duration=timedelta(hours=1))
    """

    template_fields: Sequence[str] = (
        "connection",
        "streams",
        "bucket",
        "source",
        "landing_prefix",
        "live_prefix",
        "airbyte_conn_id",
        "aws_conn_id",
        "dremio_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#e4e2ff"

    def __init__(
        self,
        *,
        connection: str,
        streams: Sequence[str],
        duration: timedelta,
        bucket: str | None = None,
        source: str = SOURCE,
        landing_prefix: str = "bronze/landing",
        live_prefix: str = "bronze/live",
        airbyte_conn_id: str = "airbyte_default",
        aws_conn_id: str = "minio_default",
        dremio_conn_id: str = "dremio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection = connection
        self.streams = streams
        self.duration = duration
        self.bucket = bucket
        self.source = source
        self.landing_prefix = landing_prefix
        self.live_prefix = live_prefix
        self.airbyte_conn_id = airbyte_conn_id
        self.aws_conn_id = aws_conn_id
        self.dremio_conn_id = dremio_conn_id

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        from lakehouse.streaming.trigger import ContinuousSyncTrigger

        end_at = self._end_of_run(context)
        settings = {
            "connection": self.connection,
            "streams": list(self.streams),
            "bucket": self.bucket,
            "source": self.source,
            "landing_prefix": self.landing_prefix,
            "live_prefix": self.live_prefix,
            "airbyte_conn_id": self.airbyte_conn_id,
            "aws_conn_id": self.aws_conn_id,
            "dremio_conn_id": self.dremio_conn_id,
        }
        left = timedelta(seconds=max(0.0, end_at - time.time()))
        self.defer(
            trigger=ContinuousSyncTrigger(settings=settings, end_at=end_at),
            method_name="resume",
            timeout=left + TRIGGERER_GRACE,
        )

    def resume(self, context: Any, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Take up the task when the rounds have ended."""
        outcome = (event or {}).get("outcome")
        if event is None or outcome not in ("ended", "error"):
            raise StreamingStopped(self.connection, f"the trigger sent {event!r}, where an outcome was expected")
        self.log.info(
            "%d rounds brought %d rows; the longest took %s s", event["rounds"], event["rows"], event["longest"]
        )
        if outcome == "error":
            over = time.time() >= self._end_of_run(context)
            raise (StreamingGaveUp if over else StreamingStopped)(self.connection, str(event["error"]))
        return {name: event[name] for name in ("rounds", "rows", "longest")}

    def _end_of_run(self, context: Any) -> float:
        return float((context["dag_run"].start_date + self.duration).timestamp())
