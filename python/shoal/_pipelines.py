"""Pipelines: stages that take from named inputs and from each other; the JSON of `shoal_protocol::api::pipelines`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import _requests
from ._modules import ModuleLike
from ._requests import InputLike, Options, Prepared
from .errors import BadInput


@dataclass
class Stage:
    """One stage of a pipeline: a task, or one task for each element of what it is mapped over.

    >>> Stage("count", "wordcount", map="texts")
    >>> Stage("total", "wordcount", inputs=["count"], options={"deadline": 1.0, "no_cloud": True})
    """

    #: What others call it.
    name: str
    #: As for :meth:`shoal.Client.run`.
    module: ModuleLike
    #: One task for each element of this source: an input, or another mapped stage.
    map: Optional[str] = None
    #: Sources that are read whole, in this order.
    inputs: Sequence[str] = ()
    #: ``process``, ``transfer`` or ``compute``: for people.
    kind: str = "compute"
    #: Run only if this holds: ``{"stage": "check", "exit_code": 0}``, or ``"output_starts_with"``; with ``"not":
    #: True``, if not.
    when: Optional[Mapping[str, Any]] = None
    #: Where the first element of this source is, or was made.
    near: Optional[str] = None
    #: Times it is run again after its module ended badly.
    retries: int = 0
    #: The same module, arguments and input always give the same output: a known output is not made again.
    deterministic: bool = False
    #: What it is likely to write, in bytes.
    expected_output_bytes: Optional[int] = None
    #: What else is said of its tasks; keywords of :meth:`shoal.Client.run`.
    options: Options = field(default_factory=lambda: Options())


@dataclass
class PreparedPipeline:
    """A pipeline ready to be asked for once the hashes of what it names are known."""

    document: Dict[str, Any]
    #: Its stages' tasks and its inputs: what may have to be sent.
    parts: List[Prepared]


def prepare(stages: Sequence[Stage], inputs: Optional[Mapping[str, Sequence[InputLike]]]) -> PreparedPipeline:
    """States the pipeline, or says what is wrong with it; its graph is checked by the daemon."""
    documents, parts = [], []
    for place, stage in enumerate(stages):
        if not isinstance(stage, Stage):
            raise BadInput(f"stage {place} is a {type(stage).__name__}", hint='give shoal.Stage("name", "module", …)')
        if isinstance(stage.inputs, str):
            raise BadInput(
                f"the inputs of stage `{stage.name}` are {stage.inputs!r}", hint=f"give a list: [{stage.inputs!r}]"
            )
        task = _requests.prepare(stage.module, None, stage.options)
        parts.append(task)
        document: Dict[str, Any] = {
            "name": stage.name,
            "kind": stage.kind,
            "task": task.document,
            "inputs": list(stage.inputs),
        }
        optional = {
            "map": stage.map,
            "when": None if stage.when is None else dict(stage.when),
            "near": stage.near,
            "retries": stage.retries or None,
            "deterministic": stage.deterministic or None,
            "expected_output_bytes": stage.expected_output_bytes,
        }
        document.update((key, value) for key, value in optional.items() if value is not None)
        documents.append(document)
    lists: Dict[str, Any] = {}
    for name, elements in (inputs or {}).items():
        if isinstance(elements, (str, bytes)):
            raise BadInput(f"input `{name}` is {type(elements).__name__}", hint="give a list of its elements")
        part = _requests.prepare_inputs(list(elements))
        parts.append(part)
        lists[name] = part.document["inputs"]
    return PreparedPipeline({"inputs": lists, "stages": documents}, parts)
