"""Objects that are sent to the store while they are written."""

import io
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PART_BYTES = 8 * 1024 * 1024  # all but the last part are of one size, which some stores ask for
PARTS_UNDER_WAY = 2


class Upload(io.RawIOBase):
    """A new object, written from begin to end: the store shows it whole once it is completed, and nothing before.

    A part is sent while the next is written, so that little is left to be sent at the end; what is smaller than a part
    is put at once. botocore's errors are raised by the call in which they are noticed, not by that which caused them.

    :param client: a boto3 client, used by threads.
    """

    def __init__(self, client: Any, bucket: str, key: str, metadata: dict[str, str]) -> None:
        self._client = client
        self._to = {"Bucket": bucket, "Key": key}
        self._metadata = metadata
        self._buffer = bytearray()
        self._written = 0
        self._upload_id: str | None = None
        self._etags: list[str] = []
        self._under_way: deque[Future[str]] = deque()
        self._threads = ThreadPoolExecutor(PARTS_UNDER_WAY, thread_name_prefix="upload")
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def write(self, data: Any) -> int:
        """Take bytes; waits where the store is slower than the writer."""
        with self._lock:
            if self.closed:
                raise ValueError("The upload was given up.")
            rest = memoryview(data).cast("B")
            self._written += len(rest)
            taken = 0
            while taken < len(rest):
                if len(self._buffer) == PART_BYTES:  # not before more comes, so that the last part is not empty
                    self._send(self._buffer)
                    self._buffer = bytearray()
                part = rest[taken : taken + PART_BYTES - len(self._buffer)]
                self._buffer += part
                taken += len(part)
            return len(rest)

    def complete(self) -> None:
        """Make the object visible; returns when the store has it for good."""
        if self._upload_id is None:
            self._client.put_object(**self._to, Metadata=self._metadata, Body=self._buffer)
        else:
            self._send(self._buffer)
            while self._under_way:
                self._etags.append(self._under_way.popleft().result())
            parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, 1)]
            self._client.complete_multipart_upload(
                **self._to, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
            )
        self._threads.shutdown()
        self.close()

    def give_up(self) -> None:
        """Leave nothing in the store, as far as it can be reached."""
        with self._lock:
            self.close()
        self._threads.shutdown(cancel_futures=True)
        if self._upload_id is not None:
            with suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**self._to, UploadId=self._upload_id)

    def _send(self, part: bytearray) -> None:
        if self._upload_id is None:
            begun = self._client.create_multipart_upload(**self._to, Metadata=self._metadata)
            self._upload_id = begun["UploadId"]
        if len(self._under_way) == PARTS_UNDER_WAY:
            self._etags.append(self._under_way.popleft().result())
        number = len(self._etags) + len(self._under_way) + 1
        self._under_way.append(self._threads.submit(self._send_part, number, part))

    def _send_part(self, number: int, part: bytearray) -> str:
        sent = self._client.upload_part(**self._to, UploadId=self._upload_id, PartNumber=number, Body=part)
        return str(sent["ETag"])
