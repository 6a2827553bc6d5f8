"""The daemon's news, as server-sent events."""

from __future__ import annotations

import json
import socket
from typing import Any, AsyncIterator, Iterator, List, Optional, Union

from ._asynchronous import Asynchronous, AsyncStream
from ._blocking import Blocking, Stream
from ._exchange import Answer, Request
from ._methods import SCHEMA, _refusal
from .errors import TimedOut, WrongVersion
from .results import View

#: One event is never longer; a stream that says otherwise is not one of ours.
EVENT_BYTES_MAX = 1024 * 1024


class _Lines:
    """Cuts a stream of bytes into events."""

    def __init__(self) -> None:
        #: Events that were dropped because this end was too slow to take them.
        self.missed = 0
        self._unread = b""
        self._kind = ""

    def feed(self, data: bytes) -> List[View]:
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > EVENT_BYTES_MAX:
            raise WrongVersion("an event is too long", hint="use this package and shoald of the same version")
        return [event for line in lines for event in self._line(line.rstrip(b"\r"))]

    def _line(self, line: bytes) -> Iterator[View]:
        """Each event is a `data` line of JSON, with its kind before it when it is no news; comments keep the line open."""
        if not line:
            self._kind = ""
        elif line.startswith(b"event:"):
            self._kind = line[6:].strip().decode("utf-8", "replace")
        elif line.startswith(b"data:"):
            view = json.loads(line[5:], object_hook=View)
            if self._kind in ("", "message"):
                if view.get("schema") != SCHEMA:
                    raise WrongVersion(
                        f"shoald speaks {view.get('schema')}, this package speaks {SCHEMA}", hint="update one of them"
                    )
                yield view
            elif self._kind == "lagged":
                self.missed += int(view.get("missed", 1))


def request(since: Optional[int]) -> Request:
    """What is asked for: news from now on, or what is kept of the events after one of them, and then the news."""
    path = "/v1/events" if since is None else f"/v1/events?since={int(since)}"
    return Request("GET", path, timeout=None)


def _late(timeout: Optional[float]) -> TimedOut:
    return TimedOut(f"no event within {timeout} s", hint="wait longer, or without a timeout", retryable=True)


class Events:
    """The news as an iterator; ends when the daemon does. ``with`` closes it, and so does ``close``.

    >>> with client.events() as events:
    ...     for event in events:
    ...         print(event.event, event.get("state"))
    """

    def __init__(self, transport: Blocking, since: Optional[int], timeout: Optional[float]) -> None:
        self._lines = _Lines()
        self._waiting: List[View] = []
        self._timeout = timeout
        self._stream: Stream = transport.stream(request(since))
        if self._stream.status >= 300:
            body = self._stream.piece(timeout)
            self.close()
            raise _refusal(Answer(self._stream.status, body))

    @property
    def missed(self) -> int:
        """Events that were dropped because this end was too slow to take them."""
        return self._lines.missed

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> View:
        while not self._waiting:
            try:
                data = self._stream.piece(self._timeout)
            except (TimeoutError, socket.timeout) as error:
                raise _late(self._timeout) from error
            except OSError:
                # Closed here, or by the other side: there is no more news.
                data = b""
            if not data:
                self.close()
                raise StopIteration
            self._waiting = self._lines.feed(data)
        return self._waiting.pop(0)

    def close(self) -> None:
        """Asks for no more news."""
        self._stream.close()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AsyncEvents:
    """The news as an asynchronous iterator.

    >>> async with client.events() as events:
    ...     async for event in events:
    ...         print(event.event, event.get("state"))
    """

    def __init__(self, transport: Asynchronous, since: Optional[int], timeout: Optional[float]) -> None:
        self._lines = _Lines()
        self._waiting: List[View] = []
        self._timeout = timeout
        self._since = since
        self._transport = transport
        self._stream: Union[AsyncStream, None] = None

    @property
    def missed(self) -> int:
        """Events that were dropped because this end was too slow to take them."""
        return self._lines.missed

    async def _open(self) -> AsyncStream:
        if self._stream is None:
            self._stream = await self._transport.stream(request(self._since))
            if self._stream.status >= 300:
                body = await self._stream.piece(self._timeout)
                self._stream.close()
                raise _refusal(Answer(self._stream.status, body))
        return self._stream

    def __aiter__(self) -> AsyncIterator[View]:
        return self

    async def __anext__(self) -> View:
        stream = await self._open()
        while not self._waiting:
            try:
                data = await stream.piece(self._timeout)
            except TimeoutError as error:
                raise _late(self._timeout) from error
            if not data:
                stream.close()
                raise StopAsyncIteration
            self._waiting = self._lines.feed(data)
        return self._waiting.pop(0)

    async def __aenter__(self) -> "AsyncEvents":
        # Subscribed before the caller goes on, so that nothing it causes is missed.
        await self._open()
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._stream is not None:
            self._stream.close()
