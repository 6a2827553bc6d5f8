"""What can go wrong, as types.

Every error of this package is a :class:`ShoalError` and carries what `shoald` says in its problem documents (RFC 9457):
``code`` (stable, ``SH0412``), ``title`` (what happened), ``detail`` (why), ``hint`` (what to do) and ``retryable``.

>>> try:
...     client.run("wordcount", peer="nobody")
... except shoal.NoSuchPeer as error:
...     print(error.code, error.hint)
SH0405 `shoal peers` lists the peers this one knows
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Type

if TYPE_CHECKING:
    from .results import Result


class ShoalError(Exception):
    """Something went wrong, with its reason and its remedy."""

    #: Where an error does not come from the daemon, the code that `shoal` has for it.
    code: str = "SH0500"

    def __init__(
        self,
        title: str,
        *,
        detail: str = "",
        hint: str = "",
        code: Optional[str] = None,
        status: int = 0,
        retryable: bool = False,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.hint = hint
        if code is not None:
            self.code = code
        #: HTTP status; 0 where the daemon did not say it.
        self.status = status
        #: Whether the same request may succeed later.
        self.retryable = retryable
        #: Seconds after which to try again, where the daemon says so.
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"[{self.code}] {self.title}"
        if self.detail:
            text += f": {self.detail}"
        if self.hint:
            text += f" (fix: {self.hint})"
        return text

    def __reduce__(self) -> Any:
        # The default passes only `args` to a constructor that needs more.
        return (_rebuilt, (type(self), dict(self.__dict__), self.args))


def _rebuilt(kind: Type[ShoalError], fields: Dict[str, Any], args: tuple) -> ShoalError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class Unreachable(ShoalError):
    """Nobody answers at the socket. Nothing was sent."""

    code = "SH0101"


class ConnectionBroke(ShoalError):
    """The connection ended in the middle; the request may have had its effect."""

    code = "SH0102"


class TimedOut(ShoalError):
    """The daemon did not answer in time; the request may have had its effect."""

    code = "SH0103"


class WrongVersion(ShoalError):
    """The daemon speaks another version of the API, or something else altogether."""

    code = "SH0104"


class BadAddress(ShoalError):
    """The address is not of the form ``unix:PATH``."""

    code = "SH0105"


class BadInput(ShoalError, ValueError):
    """An argument or the data are not what they must be; nothing was sent."""

    code = "SH0113"


class NoSuchModule(BadInput):
    """There is no module of that name, or the file is none."""

    code = "SH0112"


class ProgramMissing(ShoalError):
    """One of Shoal's programs is not where it was looked for."""

    code = "SH0140"


class MeshNotStarted(ShoalError):
    """The mesh did not come up."""

    code = "SH0141"


class Problem(ShoalError):
    """The daemon refused."""


class BadRequest(Problem):
    """The request is not of the form it must have."""


class Denied(Problem):
    """This user may not ask this peer."""


class NotFound(Problem):
    """What was named is not there."""


class NoSuchTask(NotFound):
    """No such task, or its output is not there (yet, or any more)."""


class NoSuchPeer(NotFound):
    """No such peer."""


class NoSuchBlob(NotFound):
    """No such blob, here or at the neighbours asked."""


class NoSuchPipeline(NotFound):
    """No such pipeline."""


class NoSuchService(NotFound):
    """No service of that name is deployed, as far as this peer has heard."""


class CallFailed(Problem):
    """The module of a service failed the call; ``detail`` is the end of what it wrote to standard error."""


class Ambiguous(Problem):
    """A prefix fits several."""


class InUse(Problem):
    """It is held, or under way, and cannot be changed now."""


class BadPipeline(BadRequest):
    """The graph of the pipeline is not one that can be run."""


class RevocationsStale(Problem):
    """The peer does not know well enough who is revoked, and the task is restricted."""


class TooLarge(Problem):
    """Over a size limit."""


class Overloaded(Problem):
    """Too much is waiting; ``retry_after`` says when to come back."""


class ShuttingDown(Problem):
    """The peer is about to end."""


class StoreFailed(Problem):
    """The peer's disk failed or is full."""


class NoGuardian(Problem):
    """No other peer keeps a second copy of the task."""


class TaskError(Problem):
    """The task has no good end. ``result`` holds what there is of it, where it was run."""

    result: Optional["Result"] = None


class TaskFailed(TaskError):
    """The module exited with another code than 0: ``error.result.exit_code``, ``error.result.log``."""


class Trapped(TaskError):
    """The module trapped."""


class LimitHit(TaskError):
    """The module hit one of its limits."""


class InvalidModule(TaskError):
    """Not a module that can be run."""


class NoCandidate(TaskError):
    """No peer may run the task."""


class AllDeclined(TaskError):
    """Every peer declined."""


class AttemptsExhausted(TaskError):
    """The task's executors kept failing."""


class DeadlinePassed(TaskError):
    """No result by the deadline."""


class Unverified(TaskError):
    """Those that ran the task do not agree on its answer."""


class Cancelled(TaskError):
    """The task's user withdrew it."""


#: The class of each code; a code that is not here is a plain :class:`Problem`.
BY_CODE: Mapping[str, Type[Problem]] = {
    "SH0400": BadRequest,
    "SH0403": Denied,
    "SH0404": NoSuchTask,
    "SH0405": NoSuchPeer,
    "SH0406": NoSuchBlob,
    "SH0407": NotFound,
    "SH0408": NoSuchPipeline,
    "SH0409": Ambiguous,
    "SH0410": InUse,
    "SH0411": BadPipeline,
    "SH0412": NoCandidate,
    "SH0413": AllDeclined,
    "SH0414": TooLarge,
    "SH0415": InvalidModule,
    "SH0420": TaskFailed,
    "SH0421": Trapped,
    "SH0422": LimitHit,
    "SH0429": Overloaded,
    "SH0430": RevocationsStale,
    "SH0460": NoSuchService,
    "SH0464": CallFailed,
    "SH0499": Cancelled,
    "SH0503": ShuttingDown,
    "SH0504": AttemptsExhausted,
    "SH0505": NoGuardian,
    "SH0506": DeadlinePassed,
    "SH0507": StoreFailed,
    "SH0508": Unverified,
}


def of_problem(problem: Mapping[str, Any]) -> Problem:
    """The error that a problem document stands for."""
    code = str(problem.get("code", ""))
    after_ms = problem.get("retry_after_ms")
    return BY_CODE.get(code, Problem)(
        str(problem.get("title", "the daemon refused")),
        detail=str(problem.get("detail", "")),
        hint=str(problem.get("hint", "")),
        code=code,
        status=int(problem.get("status", 0)),
        retryable=bool(problem.get("retryable", False)),
        retry_after=None if after_ms is None else float(after_ms) / 1_000,
    )


def unreachable(socket: str, why: OSError) -> Unreachable:
    """Nobody answers there."""
    return Unreachable(
        f"no shoald answers at {socket}",
        detail=os.strerror(why.errno) if why.errno else str(why),
        hint="start a peer with `shoal up -d`, or name its socket: Client('unix:PATH') or SHOAL_API",
        retryable=True,
    )
