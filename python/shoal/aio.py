"""The asynchronous client: the methods of :class:`shoal.Client`, awaited.

``aio.pyi`` tells type checkers so; ``tools/stubs.py`` writes it from the methods.
"""

from __future__ import annotations

import os
from typing import Any, Optional, Union

from ._asynchronous import Asynchronous
from ._exchange import REQUEST_TIMEOUT, Flow
from ._methods import Methods, PipelineMethods, TaskMethods
from .events import AsyncEvents
from .results import View


class AsyncTask(TaskMethods):
    """A task that was submitted; its methods are awaited."""


class AsyncPipeline(PipelineMethods):
    """A pipeline that was submitted; its methods are awaited."""


class AsyncClient(Methods):
    """As :class:`shoal.Client`, for programs with an event loop.

    >>> async with AsyncClient() as client:
    ...     results = await client.map("digit", takes, concurrency=64)
    """

    def __init__(self, api: Union[str, "os.PathLike[str]", None] = None, *, timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(api, timeout)
        self._transport = Asynchronous(self.socket)

    def _drive(self, flow: "Flow[Any]") -> Any:
        return self._transport.drive(flow)

    def _handle(self, view: View) -> AsyncTask:
        return AsyncTask(self, view)

    def _pipeline_handle(self, view: View) -> AsyncPipeline:
        return AsyncPipeline(self, view)

    def events(self, *, since: Optional[int] = None, timeout: Optional[float] = None) -> AsyncEvents:
        """As :meth:`shoal.Client.events`, for ``async for``."""
        return AsyncEvents(self._transport, since, timeout)

    async def close(self) -> None:
        """Closes the connections that are kept; the client can be used again."""
        await self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
