"""One body for both clients: a method is a generator that yields what it needs done and is given what came of it.

The blocking client does each step and goes on; the asynchronous one awaits it. So every method is written once, and
knows neither sockets nor event loops.

**Not here:** the steps' doing. That is ``_blocking.py`` and ``_asynchronous.py``.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Callable, Generator, Iterable, Mapping, Optional, TypeVar, Union

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")

#: How long an ordinary request may take, in seconds.
REQUEST_TIMEOUT = 10.0


@dataclass(frozen=True)
class Request:
    """Ask the daemon; an :class:`Answer` comes of it."""

    method: str
    path: str
    #: Bytes, or a file of ``length`` bytes that is sent without being held in memory.
    body: Union[bytes, IO[bytes]] = b""
    length: Optional[int] = None
    content_type: str = "application/json"
    #: Seconds for the whole of it; nothing where only the daemon can say when to give up.
    timeout: Optional[float] = REQUEST_TIMEOUT
    #: Where the body of a good answer goes instead of into memory.
    sink: Optional[IO[bytes]] = None
    #: Headers beside those that every request has.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the daemon said."""

    status: int
    body: bytes
    #: By their names in small letters.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Do all of these, so many at a time; a list of what came of each, in their order, comes of it.

    After the first that fails nothing more is begun, and its error is raised.
    """

    flows: Iterable["Flow[Any]"]
    limit: int


#: What a method's body is.
Flow = Generator[Any, Any, T]


def exchange(body: "Callable[P, Flow[T]]") -> "Callable[P, T]":
    """Makes a method of a body; what it returns, or a coroutine of that, is the client's business."""

    @functools.wraps(body)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._drive(body(self, *args, **kwargs))

    # What a reader of `help(...)` wants to know is what comes of it.
    signature = inspect.signature(body)
    returned = str(signature.return_annotation)
    if returned.startswith("Flow[") and returned.endswith("]"):
        method.__signature__ = signature.replace(return_annotation=_Named(returned[5:-1]))  # type: ignore[attr-defined]
    return method  # type: ignore[return-value]


class _Named(str):
    """An annotation that prints without quotes."""

    def __repr__(self) -> str:
        return str(self)
