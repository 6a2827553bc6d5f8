#!/usr/bin/env python3
"""Writes `shoal/aio.pyi`, which tells type checkers that the methods of the asynchronous client are awaited.

python3 tools/stubs.py            write it
python3 tools/stubs.py --check    fail if it is not what would be written
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import List

PACKAGE = Path(__file__).parent.parent / "shoal"
HEAD = '''"""Written by tools/stubs.py from _methods.py and aio.py: do not edit."""

import os
from typing import IO, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from typing_extensions import Unpack

from ._exchange import REQUEST_TIMEOUT
from ._methods import Methods, PipelineMethods, TaskMethods
from ._modules import ModuleLike
from ._pipelines import Stage
from ._requests import Blob, InputLike, Inputs, Options
from .events import AsyncEvents
from .results import Called, Result, View
'''


def shared(tree: ast.Module, name: str) -> List[str]:
    """The signatures of a class's shared methods, awaited."""
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    lines = []
    for method in found.body:
        if isinstance(method, ast.FunctionDef) and any(
            isinstance(d, ast.Name) and d.id == "exchange" for d in method.decorator_list
        ):
            returned = (
                ast.unparse(method.returns)[len("Flow[") : -1]
                .replace("'Task'", "AsyncTask")
                .replace("'Pipeline'", "AsyncPipeline")
            )
            lines.append(
                f"    async def {method.name}({ast.unparse(method.args)}) -> {returned}: ...  # type: ignore[override]"
            )
    return lines


def own(tree: ast.Module, name: str) -> List[str]:
    """The signatures of what a class adds by itself."""
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    lines = []
    for method in found.body:
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and method.name not in (
            "_drive",
            "_handle",
            "_pipeline_handle",
        ):
            kind = "async def" if isinstance(method, ast.AsyncFunctionDef) else "def"
            returned = ast.unparse(method.returns).strip("'")
            lines.append(f"    {kind} {method.name}({ast.unparse(method.args)}) -> {returned}: ...")
    return lines


def stub() -> str:
    methods = ast.parse((PACKAGE / "_methods.py").read_text())
    aio = ast.parse((PACKAGE / "aio.py").read_text())
    task = "\n".join(["class AsyncTask(TaskMethods):", *shared(methods, "TaskMethods")])
    pipeline = "\n".join(["class AsyncPipeline(PipelineMethods):", *shared(methods, "PipelineMethods")])
    client = "\n".join(["class AsyncClient(Methods):", *own(aio, "AsyncClient"), *shared(methods, "Methods")])
    return f"{HEAD}\n{task}\n\n{pipeline}\n\n{client}\n"


if __name__ == "__main__":
    path = PACKAGE / "aio.pyi"
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if path.read_text() == stub() else f"{path} is not what tools/stubs.py writes: run it")
    path.write_text(stub())
