"""Steps done by awaiting: the same as ``_blocking.py``, on an event loop.

**Invariant:** a connection is kept only when its answer has been read to the end; a cancelled request closes its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Iterator, List, Optional, Tuple

from . import _http
from ._blocking import IDLE_MAX, PIECE_BYTES, _told, shorter
from ._exchange import Answer, Flow, Pause, Request, T, Together
from .errors import unreachable

Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Asynchronous:
    """The connections to one daemon, of one event loop at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: List[Connection] = []
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    async def drive(self, flow: "Flow[T]") -> T:
        """Does a method's steps, one after the other."""
        try:
            step = next(flow)
            while True:
                try:
                    done = await self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(done)
        except StopIteration as end:
            return end.value

    async def close(self) -> None:
        """Closes the connections that are idle."""
        idle, self._idle = self._idle, []
        if self._loop is not asyncio.get_running_loop():
            # They ended with the loop that they were made in.
            return
        for _, writer in idle:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def _do(self, step: Any) -> Any:
        if isinstance(step, Request):
            return await self.request(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Together):
            return await self._together(step)
        raise TypeError(f"{step!r} is no step")

    async def request(self, request: Request) -> Answer:
        """Asks, on a kept connection where there is one."""
        try:
            return await asyncio.wait_for(self._request(request), request.timeout)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise _told(TimeoutError(), request) from error

    async def _request(self, request: Request) -> Answer:
        connection, reader = await self._begin(request)
        pieces: List[bytes] = []
        try:
            while True:
                body = reader.take()
                if body:
                    if request.sink is not None and reader.status < 300:
                        request.sink.write(body)
                    else:
                        pieces.append(body)
                if reader.complete:
                    break
                reader.feed(await connection[0].read(PIECE_BYTES))
        except BaseException as error:
            connection[1].close()
            raise _told(error, request) from error
        if reader.may_be_kept and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection[1].close()
        return Answer(reader.status, pieces[0] if len(pieces) == 1 else b"".join(pieces), reader.headers)

    async def stream(self, request: Request) -> "AsyncStream":
        """Asks, and gives the answer's body piece by piece."""
        connection, reader = await self._begin(request)
        return AsyncStream(connection, reader)

    async def _begin(self, request: Request) -> Tuple[Connection, _http.AnswerReader]:
        while True:
            connection = self._take_idle()
            is_kept = connection is not None
            if connection is None:
                connection = await self._connect()
            reader = _http.AnswerReader()
            try:
                await _send(connection[1], request)
                while not reader.status:
                    reader.feed(await connection[0].read(PIECE_BYTES))
                return connection, reader
            except (OSError, EOFError) as error:
                connection[1].close()
                if is_kept and request.method == "GET" and not reader.has_begun:
                    continue
                raise _told(error, request) from error
            except BaseException:
                connection[1].close()
                raise

    async def _connect(self) -> Connection:
        try:
            return await asyncio.open_unix_connection(self.path, limit=PIECE_BYTES)
        except OSError as error:
            raise unreachable(self.path, error) from error

    def _take_idle(self) -> Optional[Connection]:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A loop that has ended took its connections with it.
            self._idle, self._loop = [], loop
        while self._idle:
            connection = self._idle.pop()
            if not connection[0].at_eof() and not connection[1].is_closing():
                return connection
            connection[1].close()
        return None

    async def _together(self, together: Together) -> List[Any]:
        flows: Iterator[Tuple[int, "Flow[Any]"]] = enumerate(together.flows)
        done: List[Any] = []

        async def work() -> None:
            for place, flow in flows:
                done.append(None)
                done[place] = await self.drive(flow)

        workers = [asyncio.ensure_future(work()) for _ in range(max(1, together.limit))]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        return done


class AsyncStream:
    """An answer whose body has no end yet."""

    def __init__(self, connection: Connection, reader: _http.AnswerReader) -> None:
        self.status = reader.status
        self._connection = connection
        self._reader = reader

    async def piece(self, timeout: Optional[float]) -> bytes:
        """What comes next of the body; nothing at its end. Raises ``TimeoutError`` where nothing comes in time."""
        while True:
            body = self._reader.take()
            if body or self._reader.complete:
                return body
            try:
                self._reader.feed(await asyncio.wait_for(self._connection[0].read(PIECE_BYTES), timeout))
            except asyncio.TimeoutError as error:
                raise TimeoutError from error
            except EOFError:
                return b""

    def close(self) -> None:
        self._connection[1].close()


async def _send(writer: asyncio.StreamWriter, request: Request) -> None:
    if isinstance(request.body, bytes):
        length = len(request.body) if request.body else None
        writer.write(_http.head(request.method, request.path, length, request.content_type, request.headers) + request.body)
        await writer.drain()
        return
    left = request.length or 0
    writer.write(_http.head(request.method, request.path, left, request.content_type, request.headers))
    while left:
        piece = request.body.read(min(left, PIECE_BYTES))
        if not piece:
            raise shorter()
        writer.write(piece)
        left -= len(piece)
        await writer.drain()
