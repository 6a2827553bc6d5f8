"""The blocking client."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

from ._blocking import Blocking
from ._exchange import REQUEST_TIMEOUT, Flow
from ._methods import Methods, PipelineMethods, TaskMethods
from .events import Events
from .results import View


class Task(TaskMethods):
    """A task that was submitted: wait for it, fetch its result, withdraw it, ask why it ran where it ran."""


class Pipeline(PipelineMethods):
    """A pipeline that was submitted: wait for it, fetch its results, withdraw it."""


class Client(Methods):
    """A way to talk to one `shoald`, by its Unix socket.

    Connections are kept and used again; threads may share a client.
    ``api`` is ``unix:PATH`` or a path; without it ``SHOAL_API`` says, and then the place where a user's daemon listens.

    >>> client = Client()
    >>> client.run("wordcount", input="to be or not to be").text
    'lines=0 words=6 bytes=18\\n2 be\\n2 to\\n1 not\\n1 or\\n'
    """

    def __init__(self, api: Union[str, "os.PathLike[str]", None] = None, *, timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(api, timeout)
        self._transport = Blocking(self.socket)

    def _drive(self, flow: "Flow[Any]") -> Any:
        return self._transport.drive(flow)

    def _handle(self, view: View) -> Task:
        return Task(self, view)

    def _pipeline_handle(self, view: View) -> Pipeline:
        return Pipeline(self, view)

    def events(self, *, since: Optional[int] = None, timeout: Optional[float] = None) -> Events:
        """News from now on, or from after the event ``since``; :class:`shoal.TimedOut` where none comes for ``timeout``
        seconds.

        >>> with client.events() as events:
        ...     moved = next(event for event in events if event.event == "task_changed" and event.epoch > 1)
        """
        return Events(self._transport, since, timeout)

    def close(self) -> None:
        """Closes the connections that are kept; the client can be used again."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
