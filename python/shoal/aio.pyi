"""Written by tools/stubs.py from _methods.py and aio.py: do not edit."""

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

class AsyncTask(TaskMethods):
    async def show(self) -> View: ...  # type: ignore[override]
    async def wait(self, timeout: Optional[float]=None) -> View: ...  # type: ignore[override]
    async def result(self, timeout: Optional[float]=None, *, check: bool=True) -> Result: ...  # type: ignore[override]
    async def cancel(self) -> View: ...  # type: ignore[override]
    async def explain(self) -> List[View]: ...  # type: ignore[override]
    async def log(self) -> str: ...  # type: ignore[override]

class AsyncPipeline(PipelineMethods):
    async def show(self) -> View: ...  # type: ignore[override]
    async def wait(self, timeout: Optional[float]=None) -> View: ...  # type: ignore[override]
    async def results(self, timeout: Optional[float]=None) -> Dict[str, List[bytes]]: ...  # type: ignore[override]
    async def cancel(self) -> View: ...  # type: ignore[override]

class AsyncClient(Methods):
    def __init__(self, api: Union[str, 'os.PathLike[str]', None]=None, *, timeout: float=REQUEST_TIMEOUT) -> None: ...
    def events(self, *, since: Optional[int]=None, timeout: Optional[float]=None) -> AsyncEvents: ...
    async def close(self) -> None: ...
    async def __aenter__(self) -> AsyncClient: ...
    async def __aexit__(self, *_: Any) -> None: ...
    async def status(self) -> View: ...  # type: ignore[override]
    async def peers(self) -> List[View]: ...  # type: ignore[override]
    async def ping(self, peer: str) -> View: ...  # type: ignore[override]
    async def rtt(self, a: str, b: str) -> View: ...  # type: ignore[override]
    async def config(self) -> List[View]: ...  # type: ignore[override]
    async def checks(self) -> List[View]: ...  # type: ignore[override]
    async def shutdown(self) -> None: ...  # type: ignore[override]
    async def run(self, module: ModuleLike, input: Inputs=None, *, patience: float=60.0, check: bool=True, **options: Unpack[Options]) -> Result: ...  # type: ignore[override]
    async def submit(self, module: ModuleLike, input: Inputs=None, *, durable: int=1, retention: Optional[float]=None, patience: float=10.0, **options: Unpack[Options]) -> AsyncTask: ...  # type: ignore[override]
    async def map(self, module: ModuleLike, inputs: Iterable[Inputs], *, concurrency: int=16, patience: float=300.0, check: bool=True, return_errors: bool=False, **options: Unpack[Options]) -> List[Result]: ...  # type: ignore[override]
    async def dry_run(self, module: ModuleLike, input: Inputs=None, **options: Unpack[Options]) -> View: ...  # type: ignore[override]
    async def explain(self, task: str='last') -> List[View]: ...  # type: ignore[override]
    async def tasks(self, limit: int=100) -> List[View]: ...  # type: ignore[override]
    async def task(self, task: str='last') -> AsyncTask: ...  # type: ignore[override]
    async def cancel(self, task: str) -> View: ...  # type: ignore[override]
    async def pipeline(self, stages: Sequence[Stage], inputs: Optional[Mapping[str, Sequence[InputLike]]]=None, *, name: str='', deadline: Optional[float]=None, priority: Optional[str]=None, retention: Optional[float]=None, idempotency_key: Optional[str]=None, submitter: Optional[str]=None) -> AsyncPipeline: ...  # type: ignore[override]
    async def plan(self, stages: Sequence[Stage], inputs: Optional[Mapping[str, Sequence[InputLike]]]=None, *, name: str='', deadline: Optional[float]=None, priority: Optional[str]=None) -> View: ...  # type: ignore[override]
    async def pipelines(self, limit: int=50) -> List[View]: ...  # type: ignore[override]
    async def declare(self, declaration: Mapping[str, Any]) -> View: ...  # type: ignore[override]
    async def datasets(self) -> List[View]: ...  # type: ignore[override]
    async def release(self, dataset: str, query: str, *, epsilon: Optional[float]=None, rho: Optional[float]=None, data: Union[Blob, str, None]=None) -> View: ...  # type: ignore[override]
    async def call(self, service: str, input: Optional[InputLike]=None, *, key: Optional[str]=None, peer: Optional[str]=None, deadline: Optional[float]=None, idempotency_key: Optional[str]=None) -> Called: ...  # type: ignore[override]
    async def services(self) -> List[View]: ...  # type: ignore[override]
    async def service(self, name: str) -> View: ...  # type: ignore[override]
    async def streams(self) -> List[View]: ...  # type: ignore[override]
    async def stream(self, name: str) -> View: ...  # type: ignore[override]
    async def feed(self, stream: str, lines: Iterable[Union[str, bytes]], *, feed: str, start: int=0) -> int: ...  # type: ignore[override]
    async def put(self, source: Any, *, length: Optional[int]=None) -> Blob: ...  # type: ignore[override]
    async def get(self, blob: Union[Blob, str], *, peer: Optional[str]=None) -> bytes: ...  # type: ignore[override]
    async def get_to(self, blob: Union[Blob, str], file: IO[bytes], *, peer: Optional[str]=None) -> None: ...  # type: ignore[override]
    async def blobs(self) -> List[View]: ...  # type: ignore[override]
    async def stat(self, blob: Union[Blob, str], *, seek: bool=False) -> View: ...  # type: ignore[override]
    async def pin(self, blob: Union[Blob, str]) -> None: ...  # type: ignore[override]
    async def unpin(self, blob: Union[Blob, str]) -> None: ...  # type: ignore[override]
    async def remove(self, blob: Union[Blob, str]) -> None: ...  # type: ignore[override]
