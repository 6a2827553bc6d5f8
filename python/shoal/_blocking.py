"""Steps done by blocking: connections over a Unix socket, kept for the next request; threads where several go together.

**Invariant:** a connection is kept only when its answer has been read to the end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any, Iterator, List, Optional, Tuple

from . import _http
from ._exchange import Answer, Flow, Pause, Request, T, Together
from .errors import ConnectionBroke, ShoalError, TimedOut, unreachable

#: Connections that are kept while idle; more are closed after their answer.
IDLE_MAX = 128
#: Bytes read or sent at a time.
PIECE_BYTES = 256 * 1024


class Blocking:
    """The connections to one daemon. Threads may share it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: List[socket.socket] = []
        self._owner = os.getpid()

    def drive(self, flow: "Flow[T]") -> T:
        """Does a method's steps, one after the other."""
        try:
            step = next(flow)
            while True:
                try:
                    done = self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(done)
        except StopIteration as end:
            return end.value

    def close(self) -> None:
        """Closes the connections that are idle."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def __del__(self) -> None:
        # A client that was not closed is no leak.
        self.close()

    def _do(self, step: Any) -> Any:
        if isinstance(step, Request):
            return self.request(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Together):
            return self._together(step)
        raise TypeError(f"{step!r} is no step")

    def request(self, request: Request) -> Answer:
        """Asks, on a kept connection where there is one."""
        connection, reader = self._begin(request)
        pieces: List[bytes] = []
        try:
            deadline = _deadline(request)
            while True:
                body = reader.take()
                if body:
                    if request.sink is not None and reader.status < 300:
                        request.sink.write(body)
                    else:
                        pieces.append(body)
                if reader.complete:
                    break
                reader.feed(_receive(connection, deadline))
        except BaseException as error:
            connection.close()
            raise _told(error, request) from error
        self._keep(connection, reader)
        return Answer(reader.status, pieces[0] if len(pieces) == 1 else b"".join(pieces), reader.headers)

    def stream(self, request: Request) -> "Stream":
        """Asks, and gives the answer's body piece by piece."""
        connection, reader = self._begin(request)
        return Stream(connection, reader)

    def _begin(self, request: Request) -> Tuple[socket.socket, _http.AnswerReader]:
        """Sends the request and reads until the answer's head is here."""
        deadline = _deadline(request)
        while True:
            connection = self._take_idle()
            is_kept = connection is not None
            if connection is None:
                connection = self._connect()
            reader = _http.AnswerReader()
            try:
                _send(connection, request, deadline)
                while not reader.status:
                    reader.feed(_receive(connection, deadline))
                return connection, reader
            except (OSError, EOFError) as error:
                connection.close()
                # The daemon may have closed a kept connection. What changes nothing can be asked again.
                if is_kept and request.method == "GET" and not reader.has_begun and not _is_timeout(error):
                    continue
                raise _told(error, request) from error
            except BaseException:
                connection.close()
                raise

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise unreachable(self.path, error) from error
        return connection

    def _take_idle(self) -> Optional[socket.socket]:
        if self._owner != os.getpid():
            # After a fork the connections are the parent's.
            self._idle, self._owner = [], os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not _has_ended(connection):
                return connection
            connection.close()

    def _keep(self, connection: socket.socket, reader: _http.AnswerReader) -> None:
        if reader.may_be_kept and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def _together(self, together: Together) -> List[Any]:
        crew = _Crew(self, together)
        workers: List[threading.Thread] = []
        try:
            while len(workers) < max(1, together.limit) and not crew.stopped:
                workers.append(threading.Thread(target=crew.work, daemon=True))
                workers[-1].start()
            for worker in workers:
                worker.join()
        except BaseException:
            # What is under way ends by itself; nobody waits for it any more.
            crew.stopped = True
            raise
        return crew.results()


class _Crew:
    """Threads that do flows from one list."""

    def __init__(self, transport: Blocking, together: Together) -> None:
        #: Whether no more is to be begun: all is, or something failed.
        self.stopped = False
        self._transport = transport
        self._flows: Iterator[Tuple[int, "Flow[Any]"]] = enumerate(together.flows)
        self._lock = threading.Lock()
        self._done: List[Any] = []
        self._error: Optional[BaseException] = None

    def work(self) -> None:
        while True:
            try:
                # A generator may be asked by one thread at a time.
                with self._lock:
                    if self.stopped:
                        return
                    place, flow = next(self._flows)
                    self._done.append(None)
                self._done[place] = self._transport.drive(flow)
            except StopIteration:
                self.stopped = True
                return
            except BaseException as error:
                with self._lock:
                    self.stopped = True
                    self._error = self._error or error
                return

    def results(self) -> List[Any]:
        if self._error is not None:
            raise self._error
        return self._done


class Stream:
    """An answer whose body has no end yet."""

    def __init__(self, connection: socket.socket, reader: _http.AnswerReader) -> None:
        self.status = reader.status
        self._connection = connection
        self._reader = reader

    def piece(self, timeout: Optional[float]) -> bytes:
        """What comes next of the body; nothing at its end. Raises ``TimeoutError`` where nothing comes in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            body = self._reader.take()
            if body or self._reader.complete:
                return body
            try:
                self._reader.feed(_receive(self._connection, deadline))
            except EOFError:
                return b""

    def close(self) -> None:
        # Whoever reads in another thread would wait on.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _deadline(request: Request) -> Optional[float]:
    return None if request.timeout is None else time.monotonic() + request.timeout


def _send(connection: socket.socket, request: Request, deadline: Optional[float]) -> None:
    _limit(connection, deadline)
    if isinstance(request.body, bytes):
        length = len(request.body) if request.body else None
        head = _http.head(request.method, request.path, length, request.content_type, request.headers)
        connection.sendall(head + request.body if len(request.body) < PIECE_BYTES else head)
        if len(request.body) >= PIECE_BYTES:
            connection.sendall(request.body)
        return
    left = request.length or 0
    connection.sendall(_http.head(request.method, request.path, left, request.content_type, request.headers))
    while left:
        piece = request.body.read(min(left, PIECE_BYTES))
        if not piece:
            raise shorter()
        connection.sendall(piece)
        left -= len(piece)


def _receive(connection: socket.socket, deadline: Optional[float]) -> bytes:
    _limit(connection, deadline)
    return connection.recv(PIECE_BYTES)


def _limit(connection: socket.socket, deadline: Optional[float]) -> None:
    if deadline is None:
        connection.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def _has_ended(connection: socket.socket) -> bool:
    """An idle connection has nothing to say but that it is closed."""
    try:
        connection.settimeout(0)
        connection.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        pass
    return True


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, socket.timeout))


def _told(error: BaseException, request: Request) -> BaseException:
    """The error as the user is told of it."""
    if isinstance(error, ShoalError):
        return error
    if _is_timeout(error):
        return timed_out(request)
    if isinstance(error, (OSError, EOFError)):
        return broke(error)
    return error


def timed_out(request: Request) -> TimedOut:
    return TimedOut(
        f"shoald did not answer within {request.timeout} s",
        hint="see whether the daemon is alive with `shoal status`, then try again",
        retryable=request.method == "GET",
    )


def broke(error: BaseException) -> ConnectionBroke:
    return ConnectionBroke(
        "the connection to shoald broke",
        detail=str(error),
        hint="see whether the daemon still runs with `shoal status`",
    )


def shorter() -> ShoalError:
    return ShoalError(
        "the file became shorter while it was sent", code="SH0114", hint="try again when nobody writes to it"
    )
