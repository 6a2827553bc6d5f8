"""What comes back: objects of the daemon's JSON, and the result of a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional

from ._requests import Blob


class View(Dict[str, Any]):
    """A JSON object whose members are attributes as well: ``status.me.name``, ``status["me"]["name"]``.

    Members that this version of the package does not know are there all the same.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no `{name}` here; there is {', '.join(self) or 'nothing'}") from None


def total(cost: Optional[Dict[str, Any]]) -> float:
    """The value of the objective for one candidate of a decision: loss + wait + transfer + compute."""
    return sum(float(cost[term]) for term in ("loss", "wait", "transfer", "compute")) if cost else 0.0


@dataclass(frozen=True)
class Result:
    """A task that has ended.

    >>> result = client.run("wordcount", input="one two two")
    >>> result.text.splitlines()[0]
    'lines=0 words=3 bytes=11'
    >>> result.executor, result.exit_code, result.seconds
    ('edge-1', 0, 0.0012)
    """

    #: Its id.
    task: str
    #: The name it was submitted under.
    name: str
    #: ``done``, ``failed`` or ``cancelled``.
    state: str
    #: What the module wrote to standard output.
    output: bytes
    #: The module's exit code, where it exited.
    exit_code: Optional[int]
    #: The name of the peer that ran it.
    executor: Optional[str]
    #: That peer's role: ``edge`` or ``cloud``.
    role: Optional[str]
    #: Which build of the module ran, where there are several.
    variant: Optional[str]
    #: The latest attempt, from 1.
    attempt: int
    #: Where the time went, in microseconds: ``placing_us``, ``prepare_us``, ``queued_us``, ``run_us``, ``total_us``.
    timings: View
    #: The end of what the module wrote to standard error.
    log: str
    #: Runs that gave this answer, where runs were compared.
    agreed: Optional[int]
    #: All that the daemon said.
    view: View = field(repr=False)
    #: The output as a blob, where it is large or was to be kept where it was made; an input of the next task.
    blob: Optional[Blob] = None

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8")

    @property
    def seconds(self) -> float:
        """From acceptance to the result at home."""
        return float(self.timings.get("total_us", 0)) / 1e6

    def json(self) -> Any:
        """The output read as JSON."""
        import json

        return json.loads(self.output)


@dataclass(frozen=True)
class Called:
    """What a service answered.

    >>> called = client.call("wordcount", "one two two")
    >>> called.text.splitlines()[0], called.version, called.peer
    ('lines=0 words=3 bytes=11', 2, 'edge-1')
    """

    #: What it wrote.
    output: bytes
    #: Which version of it ran.
    version: int
    #: The name of the peer that ran it.
    peer: str
    #: Seconds that its module ran.
    run_seconds: float
    #: The task that the call was.
    task: str

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8")

    def json(self) -> Any:
        """The output read as JSON."""
        import json

        return json.loads(self.output)


def called_of(output: bytes, headers: Mapping[str, str]) -> Called:
    """What an answer of a service says, by its headers."""
    return Called(
        output=output,
        version=int(headers.get("shoal-version", 0)),
        peer=headers.get("shoal-peer", ""),
        run_seconds=int(headers.get("shoal-run-us", 0)) / 1e6,
        task=headers.get("shoal-task", ""),
    )


def result_of(view: View, output: bytes) -> Result:
    """The result that a task's view and its output's bytes are."""
    executor = view.get("executor") or {}
    kept = (view.get("output") or {}).get("blob")
    return Result(
        task=view["task"],
        name=view.get("name", ""),
        state=view["state"],
        output=output,
        exit_code=view.get("exit_code"),
        executor=executor.get("name"),
        role=executor.get("role"),
        variant=view.get("variant"),
        attempt=view.get("attempt", 0),
        timings=view.get("timings") or View(),
        log=view.get("log", ""),
        agreed=view.get("agreed"),
        view=view,
        blob=Blob(kept["id"], kept["bytes"]) if kept else None,
    )
