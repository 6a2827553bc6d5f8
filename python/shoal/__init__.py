"""Shoal from Python: run WebAssembly tasks on a mesh of peers.

>>> import shoal
>>> client = shoal.Client()                     # the peer of this user; or Client("unix:PATH"), or SHOAL_API
>>> client.run("wordcount", input="to be or not to be").text

Nothing but the standard library is needed; arrays of numpy are taken where a program has them. :mod:`shoal.compat` has
`LeptonAI`: process, transfer, compute on a mesh of cloud and edge peers that it starts and ends by itself.
"""

from ._modules import bundled
from ._pipelines import Stage
from ._requests import Blob, Options
from .aio import AsyncClient, AsyncPipeline, AsyncTask
from .client import Client, Pipeline, Task
from .errors import (
    AllDeclined,
    Ambiguous,
    AttemptsExhausted,
    BadAddress,
    BadInput,
    BadPipeline,
    BadRequest,
    CallFailed,
    Cancelled,
    ConnectionBroke,
    DeadlinePassed,
    Denied,
    InUse,
    InvalidModule,
    LimitHit,
    MeshNotStarted,
    NoCandidate,
    NoGuardian,
    NoSuchBlob,
    NoSuchModule,
    NoSuchPeer,
    NoSuchPipeline,
    NoSuchService,
    NoSuchTask,
    NotFound,
    Overloaded,
    Problem,
    ProgramMissing,
    RevocationsStale,
    ShoalError,
    ShuttingDown,
    StoreFailed,
    TaskError,
    TaskFailed,
    TimedOut,
    TooLarge,
    Trapped,
    Unreachable,
    Unverified,
    WrongVersion,
)
from .events import AsyncEvents, Events
from .mesh import Mesh
from .results import Called, Result, View, total

__version__ = "0.1.0"

__all__ = [
    "AllDeclined",
    "Ambiguous",
    "AsyncClient",
    "AsyncEvents",
    "AsyncPipeline",
    "AsyncTask",
    "AttemptsExhausted",
    "BadAddress",
    "BadInput",
    "BadPipeline",
    "BadRequest",
    "Blob",
    "CallFailed",
    "Called",
    "Cancelled",
    "Client",
    "ConnectionBroke",
    "DeadlinePassed",
    "Denied",
    "Events",
    "InUse",
    "InvalidModule",
    "LimitHit",
    "Mesh",
    "MeshNotStarted",
    "NoCandidate",
    "NoGuardian",
    "NoSuchBlob",
    "NoSuchModule",
    "NoSuchPeer",
    "NoSuchPipeline",
    "NoSuchService",
    "NoSuchTask",
    "NotFound",
    "Options",
    "Overloaded",
    "Pipeline",
    "Problem",
    "ProgramMissing",
    "Result",
    "RevocationsStale",
    "ShoalError",
    "ShuttingDown",
    "Stage",
    "StoreFailed",
    "Task",
    "TaskError",
    "TaskFailed",
    "TimedOut",
    "TooLarge",
    "Trapped",
    "Unreachable",
    "Unverified",
    "View",
    "WrongVersion",
    "bundled",
    "total",
]
