"""`|httpPost()`: each point or batch to a web service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tickc.runtime.batch import Batch, Column, Segments
from tickc.runtime.graph import Operator, TaskFailed
from tickc.runtime.kinds import Kind
from tickc.runtime.posts import Posts, Request
from tickc.runtime.settings import Endpoint
from tickc.runtime.web import TIMEOUT, WebError

MESSAGE = 300  # letters of an error that are kept


class HttpPost(Operator):
    """Posts each point or batch to a web service and passes it on, with the status of the answer in `code_field`.

    Nothing is posted unless `connect` is given leave to; then, as where the service is out of reach, the code is 0.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str = "",
        endpoint: str = "",
        headers: Mapping[str, str] | None = None,
        code_field: str = "",
        capture_response: bool = False,
        timeout: int = 0,
    ) -> None:
        """timeout: ns; 0 is for as long as tickc waits at most (see web.TIMEOUT)."""
        super().__init__(name=name)
        self.url, self.endpoint = url, endpoint
        self.headers = dict(headers or {})
        self.code_field, self.capture_response, self.timeout = code_field, capture_response, timeout
        self.posts: Posts | None = None

    def connect(self, outside: Any) -> None:
        """Post from now on, if `outside` allows it; TaskFailed where the settings lack the endpoint."""
        if not outside.handlers:
            return
        if self.endpoint and self.endpoint not in outside.settings.endpoints:
            raise TaskFailed(f"endpoint '{self.endpoint}' does not exist")
        target = outside.settings.endpoints[self.endpoint] if self.endpoint else Endpoint(self.url)
        self.posts = Posts(target, self.headers, self.timeout / 1e9 or TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        if self.posts is not None:
            self.posts.close()

    def notes(self) -> Iterable[str]:
        if self.posts is not None and self.errors:
            reason, failed = next(iter(self.errors)), self.errors.total()
            yield f"{self.name}: {failed:,} posts failed, and what they carried went on: {reason}"

    def process(self, batch: Batch) -> Iterable[Batch]:
        if isinstance(batch, Segments):
            batch = batch.flat()
        if self.posts is None:
            self.errors["failed to POST data: nothing is posted without leave"] += len(batch)
            codes = np.zeros(len(batch), np.int64)
        else:
            codes = np.fromiter(map(self._posted, self.posts.requests(batch)), np.int64, len(batch))
        if not self.code_field:
            yield batch
            return
        codes = codes[batch.owner()] if isinstance(batch, Segments) else codes
        rows = batch.rows
        yield batch.with_rows(rows.with_(fields={**rows.fields, self.code_field: Column.of(Kind.INT, codes)}))

    def _posted(self, request: Request | str) -> int:
        """Send a request (a text is why it could not be made); returns the status, 0 where there is none."""
        assert self.posts is not None
        try:
            if isinstance(request, str):
                raise WebError(request)
            status, body = self.posts.send(request)
        except WebError as error:
            self.errors[f"failed to POST data: {error}"[:MESSAGE]] += 1
            return 0
        if status // 100 != 2:
            text = body.decode("utf-8", "replace")
            why = text if self.capture_response else "use .captureResponse() to capture the HTTP response"
            self.errors[f"POST returned non 2xx status code {status}: {why}"[:MESSAGE]] += 1
        return status
