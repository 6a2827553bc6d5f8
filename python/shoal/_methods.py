"""What a program may ask of a peer: one method for each route of the local API.

The bodies are shared by :class:`shoal.Client` and :class:`shoal.AsyncClient` (see ``_exchange.py``).
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from typing import IO, TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from . import _pipelines, _requests, _user, errors
from ._exchange import Answer, Flow, Pause, Request, Together, exchange
from ._modules import Module, ModuleLike
from ._patience import Patience
from ._pipelines import Stage
from ._requests import Blob, InputLike, Inputs, Options
from .results import Called, Result, View, called_of, result_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Value of the ``schema`` field of every answer.
SCHEMA = "shoal/v1"
#: Longest single wait asked of the daemon, in seconds; longer waits are several requests, so a frozen daemon is
#: noticed.
WAIT_SLICE = 20.0
#: Longest that a statistic may take, in seconds: its keeper may be far away, and its rows many.
RELEASE_TIMEOUT = 160.0
#: Hashes of modules that are remembered.
KNOWN_MAX = 4096
#: What raises a limit that a task hit.
LIMIT_KEYWORDS = {"memory": "memory", "wall": "timeout", "output": "output_limit"}
FINAL_STATES = ("done", "failed", "cancelled")


def default_socket() -> str:
    """Where a user's daemon listens when neither was told otherwise; `shoal_protocol::api::default_socket`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.getuid() == 0:
        return "/run/shoal/shoald.sock"
    if runtime.startswith("/"):
        return os.path.join(runtime, "shoal/shoald.sock")
    return f"/tmp/shoal-{os.getuid()}/shoald.sock"


def socket_of(api: Union[str, "os.PathLike[str]", None]) -> str:
    """The path of an address: ``unix:PATH``, a path, or nothing for ``SHOAL_API`` and then the default."""
    text = os.environ.get("SHOAL_API", "") if api is None else os.fspath(api)
    if api is None and not text:
        return default_socket()
    path = text[len("unix:") :] if text.startswith("unix:") else text
    if not path or ("/" not in path and path == text):
        raise errors.BadAddress(f"`{text}` is not an API address", hint="write it as unix:/run/shoal/shoald.sock")
    return path


class Methods:
    """The methods; what drives them is added by the clients."""

    def __init__(self, api: Union[str, "os.PathLike[str]", None], timeout: float) -> None:
        #: The daemon's socket.
        self.socket = socket_of(api)
        #: Seconds for an ordinary request. One that waits for a task, a blob or an event takes as long as that does.
        self.timeout = timeout
        self._known: Dict[object, str] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}('unix:{self.socket}')"

    def _drive(self, flow: "Flow[Any]") -> Any:
        raise NotImplementedError

    def _handle(self, view: View) -> Any:
        raise NotImplementedError

    def _pipeline_handle(self, view: View) -> Any:
        raise NotImplementedError

    # The mesh.

    @exchange
    def status(self) -> Flow[View]:
        """This peer, its mesh and its neighbours.

        >>> client.status().me.name
        'edge-1'
        """
        return (yield from self._get("/v1/status"))

    @exchange
    def peers(self) -> Flow[List[View]]:
        """The peers this one knows, each with its role, state, round trip and load.

        >>> [(peer.name, peer.rtt_p50_ms) for peer in client.peers()]
        [('edge-2', 2.1), ('cloud-1', 31.3)]
        """
        return (yield from self._list("/v1/peers"))

    @exchange
    def ping(self, peer: str) -> Flow[View]:
        """Measures the round trip to a peer once: ``rtt_ms``, nothing where it does not answer within a second."""
        return (yield from self._ask("POST", f"/v1/peers/{_quoted(peer)}/ping"))

    @exchange
    def rtt(self, a: str, b: str) -> Flow[View]:
        """The distance of two peers: ``measured_ms``, ``predicted_ms``."""
        return (yield from self._get(f"/v1/rtt?a={_quoted(a)}&b={_quoted(b)}"))

    @exchange
    def config(self) -> Flow[List[View]]:
        """The daemon's configuration: ``key``, ``value`` and ``origin`` of each."""
        return (yield from self._get("/v1/config"))["values"]

    @exchange
    def checks(self) -> Flow[List[View]]:
        """What of its machine stands in the peer's way."""
        return (yield from self._list("/v1/checks"))

    @exchange
    def shutdown(self) -> Flow[None]:
        """Asks the daemon to hand back queued work and end."""
        yield from self._send(Request("POST", "/v1/shutdown", timeout=self.timeout))

    # Tasks.

    @exchange
    def run(
        self,
        module: ModuleLike,
        input: Inputs = None,
        *,
        patience: float = 60.0,
        check: bool = True,
        **options: Unpack[Options],
    ) -> Flow[Result]:
        """Runs a module where it costs least, and returns its result: one request.

        ``module`` is a path, the name of an example (``wordcount``), ``b3:HASH``, or the bytes of a module. ``input``
        is text, bytes, a ``pathlib.Path`` (its contents), a file opened with ``rb``, a :class:`Blob`, or a list of
        them. The keywords are those of :class:`shoal.Options`; times are in seconds.

        An interrupted call leaves its task to end by itself; :meth:`submit` gives a handle to withdraw it by.

        An overloaded mesh is asked again for up to ``patience`` seconds. A task without a good end raises its
        :class:`shoal.TaskError`; with ``check=False`` its result is returned whatever the module's exit code is.

        >>> client.run("wordcount", input=Path("README.md"), args=["--top", 3]).text
        >>> client.run("digit", input=Path("take.wav"), deadline=0.2, no_cloud=True)
        >>> client.run("digit", input=take, variants={"int8": ("digit_small", 0.0125)}, min_accuracy=0.95)
        """
        return (yield from self._run(module, input, patience, check, options))

    @exchange
    def submit(
        self,
        module: ModuleLike,
        input: Inputs = None,
        *,
        durable: int = 1,
        retention: Optional[float] = None,
        patience: float = 10.0,
        **options: Unpack[Options],
    ) -> Flow["Task"]:
        """Hands in a task that outlives this program and returns its handle once it is kept.

        ``durable`` is the number of copies on disk before this returns: 1 (at this peer), 2 (and at a peer elsewhere,
        which goes on without this one), or 0 (in memory). The result is kept for ``retention`` seconds, 24 hours where
        absent. With the same ``idempotency_key`` the same user is given the same task, however often and at whichever
        peer it is submitted.

        >>> task = client.submit("anomaly", input=Path("day.csv"), durable=2, idempotency_key="day-17")
        >>> task.result().text
        """
        prepared = _requests.prepare(module, input, options)
        extra: Dict[str, Any] = {"durable": durable}
        if "idempotency_key" in options and "submitter" not in options:
            extra["submitter"] = _user.submitter()
        if retention is not None:
            extra["retention_ms"] = _requests.millis("retention", retention)
        waits = Patience(patience)
        while True:
            try:
                return self._handle((yield from self._post_task(prepared, extra)))
            except errors.Overloaded as error:
                seconds = waits.wait(error)
                if seconds is None:
                    raise
            yield Pause(seconds)

    @exchange
    def map(
        self,
        module: ModuleLike,
        inputs: Iterable[Inputs],
        *,
        concurrency: int = 16,
        patience: float = 300.0,
        check: bool = True,
        return_errors: bool = False,
        **options: Unpack[Options],
    ) -> Flow[List[Result]]:
        """Runs a module once for each input, ``concurrency`` at a time; the results are in the order of the inputs.

        Inputs may come from a generator: no more are taken from it than are under way. A run that the mesh has no room
        for is tried again after the time the mesh names, and some more by chance, for up to ``patience`` seconds. The
        first error ends the map and is raised; with ``return_errors`` errors stand in the list where a result would.

        >>> [result.text for result in client.map("digit", sorted(Path("digits").glob("*.wav")), concurrency=8)]
        """
        if concurrency < 1:
            raise errors.BadInput(f"concurrency is {concurrency}", hint="give 1 or more")
        if isinstance(inputs, (str, bytes, bytearray)):
            raise errors.BadInput("the inputs are one text", hint="give a list of inputs: [text]")
        # The module is made known once, not by each of the first runs.
        prepared = _requests.prepare(module, None, options)
        yield from self._identify(prepared, False)

        def one(input: Inputs) -> "Flow[Any]":
            try:
                return (yield from self._run(module, input, patience, check, options))
            except errors.ShoalError as error:
                if return_errors:
                    return error
                raise

        return (yield Together((one(input) for input in inputs), concurrency))

    @exchange
    def dry_run(self, module: ModuleLike, input: Inputs = None, **options: Unpack[Options]) -> Flow[View]:
        """Where a task would run if it were handed in now, and why.

        >>> decision = client.dry_run("congestion", input=speeds)
        >>> [(c.name, c.verdict, shoal.total(c.cost)) for c in decision.candidates]
        [('edge-2', 'won', 55.5), ('edge-1', 'ranked', 492.3), ('cloud-1', 'excluded', 36.1)]
        """
        return (yield from self._post_task(_requests.prepare(module, input, options), {"dry_run": True}))

    @exchange
    def explain(self, task: str = "last") -> Flow[List[View]]:
        """Why a task ran where it ran: one decision an attempt. An id, a unique prefix of one, or ``last``."""
        return (yield from self._list(f"/v1/tasks/{_quoted(task)}/explain"))

    @exchange
    def tasks(self, limit: int = 100) -> Flow[List[View]]:
        """The newest tasks of this peer's users, newest first, without outputs."""
        return (yield from self._list(f"/v1/tasks?limit={int(limit)}"))

    @exchange
    def task(self, task: str = "last") -> Flow["Task"]:
        """The handle of a task: by its id, a unique prefix of it, or ``last``."""
        return self._handle((yield from self._get(f"/v1/tasks/{_quoted(task)}")))

    @exchange
    def cancel(self, task: str) -> Flow[View]:
        """Withdraws a task."""
        return (yield from self._ask("POST", f"/v1/tasks/{_quoted(task)}/cancel"))

    # Pipelines.

    @exchange
    def pipeline(
        self,
        stages: Sequence[Stage],
        inputs: Optional[Mapping[str, Sequence[InputLike]]] = None,
        *,
        name: str = "",
        deadline: Optional[float] = None,
        priority: Optional[str] = None,
        retention: Optional[float] = None,
        idempotency_key: Optional[str] = None,
        submitter: Optional[str] = None,
    ) -> Flow["Pipeline"]:
        """Hands in a graph of stages over named lists of inputs and returns its handle once it is on disk.

        >>> pipeline = client.pipeline(
        ...     [shoal.Stage("count", "wordcount", map="texts"), shoal.Stage("total", "wordcount", inputs=["count"])],
        ...     {"texts": ["a b", "b c"]},
        ... )
        >>> pipeline.results()["total"][0]
        """
        if idempotency_key is not None and submitter is None:
            submitter = _user.submitter()
        said = _pipeline_options(name, deadline, priority, retention, idempotency_key, submitter)
        return self._pipeline_handle((yield from self._post_pipeline(stages, inputs, said)))

    @exchange
    def plan(
        self,
        stages: Sequence[Stage],
        inputs: Optional[Mapping[str, Sequence[InputLike]]] = None,
        *,
        name: str = "",
        deadline: Optional[float] = None,
        priority: Optional[str] = None,
    ) -> Flow[View]:
        """Where the tasks of a pipeline would run if it were handed in now, and when they would end."""
        said = _pipeline_options(name, deadline, priority, None, None, None)
        return (yield from self._post_pipeline(stages, inputs, {**said, "dry_run": True}))

    @exchange
    def pipelines(self, limit: int = 50) -> Flow[List[View]]:
        """The newest pipelines of this peer, newest first, without results."""
        return (yield from self._list(f"/v1/pipelines?limit={int(limit)}"))

    # Statistics within a privacy budget.

    @exchange
    def declare(self, declaration: Mapping[str, Any]) -> Flow[View]:
        """Declares a data set at this peer, for good; the keys are in ``docs/privacy.md``, and ``data`` is a blob's id."""
        return (yield from self._post("/v1/privacy/datasets", dict(declaration), [], self.timeout))

    @exchange
    def datasets(self) -> Flow[List[View]]:
        """The data sets that are declared at this peer, and what is left of their budgets."""
        return (yield from self._list("/v1/privacy/datasets"))

    @exchange
    def release(
        self,
        dataset: str,
        query: str,
        *,
        epsilon: Optional[float] = None,
        rho: Optional[float] = None,
        data: Union[Blob, str, None] = None,
    ) -> Flow[View]:
        """A statistic of a data set (``"street"``, or ``"street@nas"`` where another peer keeps it), blurred and paid for.

        The same question about the same rows is answered by the same release, at no cost.

        >>> client.release("street", "mean", epsilon=0.1).figures[0]["value"]
        """
        if (epsilon is None) == (rho is None):
            raise errors.BadInput("the noise has two names, or none", hint="name it by epsilon or by rho")
        noise = {"rho": rho} if epsilon is None else {"epsilon": epsilon}
        document: Dict[str, Any] = {"dataset": dataset, "query": query, "noise": noise}
        if data is not None:
            document["data"] = [{"blob": data.id} if isinstance(data, Blob) else {"text": data}]
        return (yield from self._post("/v1/privacy/releases", document, [], RELEASE_TIMEOUT))

    # Services.

    @exchange
    def call(
        self,
        service: str,
        input: Optional[InputLike] = None,
        *,
        key: Optional[str] = None,
        peer: Optional[str] = None,
        deadline: Optional[float] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Called]:
        """Calls a service by its name, and returns what it answered: one request.

        ``input`` is text, bytes, a ``pathlib.Path`` (its contents) or a file opened with ``rb``. Calls with the same ``key`` get
        the same version of it, as long as the share of that does not shrink. With ``peer`` it is called there only. With the
        same ``idempotency_key`` the same call is answered again, and not made again. ``deadline`` is in seconds.

        A call that its module fails raises :class:`shoal.CallFailed`.

        >>> client.call("wordcount", "to be or not to be").text
        """
        data = b"" if input is None else _requests.data_of(input, "input")
        asked = {"key": key, "peer": peer, "deadline_ms": _requests.millis("deadline", deadline)}
        query = urllib.parse.urlencode({name: value for name, value in asked.items() if value is not None})
        path = f"/v1/services/{_quoted(service)}/call" + (f"?{query}" if query else "")
        headers = {} if idempotency_key is None else {"idempotency-key": _header(idempotency_key)}
        request = Request(
            "POST", path, data, content_type="application/octet-stream", timeout=None, headers=headers
        )
        answer = yield from self._send(request)
        return called_of(answer.body, answer.headers)

    @exchange
    def services(self) -> Flow[List[View]]:
        """The services of the mesh, as this peer knows them: ``name``, ``current``, ``versions``, ``warm``.

        >>> [(service.name, service.current) for service in client.services()]
        [('wordcount', 2)]
        """
        return (yield from self._list("/v1/services"))

    @exchange
    def service(self, name: str) -> Flow[View]:
        """One of them: its versions with their shares, calls, failures and times from here, and where it is ready."""
        return (yield from self._get(f"/v1/services/{_quoted(name)}"))

    # Streams.

    @exchange
    def streams(self) -> Flow[List[View]]:
        """The streams of this peer, and those it would take over: ``name``, ``state``, ``records``, ``windows``."""
        return (yield from self._list("/v1/streams"))

    @exchange
    def stream(self, name: str) -> Flow[View]:
        """What came in at a stream, what was written, and what is wrong: ``notes``."""
        return (yield from self._ask("GET", f"/v1/streams/{_quoted(name)}"))

    @exchange
    def feed(self, stream: str, lines: Iterable[Union[str, bytes]], *, feed: str, start: int = 0) -> Flow[int]:
        """Hands in the lines of a feed from the ``start``-th; how many of it have been taken, once they are on disk.

        Lines are text or bytes, with their end or without: a list of them, or an open file. The same lines under the same name are
        taken once. :class:`shoal.Overloaded` while the stream has no room: hand the same in again.

        >>> client.feed("words", open("book.txt"), feed="book")
        1204
        """
        if int(start) < 0:
            raise errors.BadInput(f"the feed starts at line {start}", hint="give the number of its first line, from 0")
        taken = 0
        for first, body in _requests.batches(lines, int(start)):
            path = f"/v1/streams/{_quoted(stream)}/records?feed={_quoted(feed)}&from={first}"
            request = Request("POST", path, body=body, content_type="text/plain", timeout=2 * self.timeout)
            taken = int(_read((yield from self._send(request)))["feed_lines"])
        return taken

    # Blobs.

    @exchange
    def put(self, source: Any, *, length: Optional[int] = None) -> Flow[Blob]:
        """Stores bytes, text, the contents of a ``pathlib.Path``, or what an open binary file still holds.

        A file is sent piece by piece. A stream whose length is not known (a pipe) is read first, unless ``length`` says
        how many bytes to take.

        >>> client.put(Path("speeds.csv"))
        Blob(id='b3:5fd9…', bytes=48911)
        """
        body, size = _requests.stream_of(source, length)
        try:
            return (yield from self._put(body, size))
        finally:
            if body is not source and not isinstance(body, bytes):
                body.close()

    @exchange
    def get(self, blob: Union[Blob, str], *, peer: Optional[str] = None) -> Flow[bytes]:
        """A blob's bytes, from here, from the peer named, or from any neighbour that has it."""
        answer = yield from self._send(Request("GET", _blob_path(blob, peer), timeout=None))
        return answer.body

    @exchange
    def get_to(self, blob: Union[Blob, str], file: IO[bytes], *, peer: Optional[str] = None) -> Flow[None]:
        """Writes a blob into an open binary file, without holding it in memory."""
        yield from self._send(Request("GET", _blob_path(blob, peer), timeout=None, sink=file))

    @exchange
    def blobs(self) -> Flow[List[View]]:
        """The blobs in the peer's store: ``id``, ``bytes``, ``is_module``."""
        return (yield from self._list("/v1/blobs"))

    @exchange
    def stat(self, blob: Union[Blob, str], *, seek: bool = False) -> Flow[View]:
        """What the peer knows of a blob: ``bytes`` and more; with ``seek`` its neighbours are asked who has it.

        :class:`shoal.NoSuchBlob` where nobody who was asked has it.
        """
        try:
            view = yield from self._get(f"{_blob_path(blob)}/stat?seek={str(seek).lower()}")
        except errors.BadRequest as error:
            if error.status != 404:
                raise
            # An older peer has no such route, but a list.
            listed = yield from self._list("/v1/blobs")
            view = next((view for view in listed if view.id == str(blob)), View(local=False))
        if view.get("local", True) or view.get("partial_bytes") or view.get("holders"):
            return view
        raise errors.NoSuchBlob(
            f"{blob} is not here",
            code="SH0406",
            status=404,
            hint="`get` fetches it from a neighbour; `blobs` lists what is here",
        )

    @exchange
    def pin(self, blob: Union[Blob, str]) -> Flow[None]:
        """Keeps a blob at this peer until it is unpinned, fetching it first when it is not here."""
        yield from self._send(Request("POST", f"{_blob_path(blob)}/pin", timeout=None))

    @exchange
    def unpin(self, blob: Union[Blob, str]) -> Flow[None]:
        """Lets a pinned blob go when room is wanted."""
        yield from self._send(Request("POST", f"{_blob_path(blob)}/unpin", timeout=self.timeout))

    @exchange
    def remove(self, blob: Union[Blob, str]) -> Flow[None]:
        """Removes a blob from this peer."""
        yield from self._send(Request("DELETE", _blob_path(blob), timeout=self.timeout))

    # What the methods are made of.

    def _get(self, path: str) -> "Flow[View]":
        return (yield from self._ask("GET", path))

    def _list(self, path: str) -> "Flow[List[View]]":
        return (yield from self._ask("GET", path))["items"]

    def _ask(self, method: str, path: str) -> "Flow[View]":
        return _read((yield from self._send(Request(method, path, timeout=self.timeout))))

    def _send(self, request: Request) -> "Flow[Answer]":
        answer: Answer = yield request
        if answer.status >= 300:
            raise _refusal(answer)
        return answer

    def _put(self, body: Union[bytes, IO[bytes]], length: Optional[int]) -> "Flow[Blob]":
        size = len(body) if isinstance(body, bytes) else length
        if size is not None and size > _requests.INPUT_BYTES_MAX:
            raise errors.TooLarge(
                f"the blob has {size} bytes",
                code="SH0414",
                detail=f"a blob has at most {_requests.INPUT_BYTES_MAX}",
                hint="split it into several",
            )
        kind = "application/octet-stream"
        view = _read((yield from self._send(Request("POST", "/v1/blobs", body, length, kind, timeout=None))))
        return Blob(view.id, view.bytes)

    def _identify(self, prepared: _requests.Prepared, send_all: bool) -> "Flow[List[Dict[str, Any]]]":
        """The builds by their hashes; a module whose hash is not known is sent to learn it."""
        builds = []
        for name, module, loss in prepared.modules:
            builds.append({"name": name, "module": (yield from self._module_id(module, send_all)), "loss": loss})
        return builds

    def _module_id(self, module: Module, send: bool) -> "Flow[str]":
        id = module.id or self._known.get(module.key)
        if id is None or (send and (module.data or module.path)):
            blob = yield from self._put(module.read(), None)
            id = blob.id
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[module.key] = id
        return id

    def _post_task(self, prepared: _requests.Prepared, extra: Dict[str, Any]) -> "Flow[View]":
        timeout = None if extra.get("wait") else self.timeout
        prepared.document.update(extra)
        return (yield from self._post("/v1/tasks", prepared.document, [prepared], timeout))

    def _post_pipeline(self, stages: Any, inputs: Any, said: Dict[str, Any]) -> "Flow[View]":
        prepared = _pipelines.prepare(stages, inputs)
        return (yield from self._post("/v1/pipelines", {**prepared.document, **said}, prepared.parts, self.timeout))

    def _post(
        self, path: str, document: Dict[str, Any], parts: List[_requests.Prepared], timeout: Optional[float]
    ) -> "Flow[View]":
        """Asks for something made of parts that name blobs, sending those that the daemon turns out not to have."""
        send_all = False
        while True:
            for part in parts:
                if part.modules:
                    part.document["variants"] = yield from self._identify(part, send_all)
                for place, data in part.uploads:
                    if send_all or not part.document["inputs"][place]:
                        part.document["inputs"][place] = {"blob": (yield from self._put(data, None)).id}
            body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
            try:
                return _read((yield from self._send(Request("POST", path, body, timeout=timeout))))
            except errors.NoSuchBlob:
                # Asking first would cost every run a round trip; nearly always what is named is there already.
                if send_all or not any(part.has_bytes for part in parts):
                    raise
                send_all = True

    def _run(self, module: ModuleLike, input: Inputs, patience: float, check: bool, options: Options) -> "Flow[Result]":
        prepared = _requests.prepare(module, input, options)
        waits = Patience(patience)
        while True:
            try:
                view = yield from self._post_task(prepared, {"wait": True})
                error = errors.of_problem(view.problem) if view.get("problem") else None
            except errors.Overloaded as refused:
                view, error = None, refused
            # A key names this task and no other, so one that was taken and found no room keeps that end.
            if error is not None and (view is None or "idempotency_key" not in options):
                seconds = waits.wait(error)
                if seconds is not None:
                    yield Pause(seconds)
                    continue
            if view is None:
                raise error or AssertionError("a refusal is an error")
            return (yield from self._ended(view, check, bool(options.get("keep_output"))))

    def _ended(self, view: View, check: bool, keep: bool = False) -> "Flow[Result]":
        """The result of a task that has ended, or its error."""
        result = result_of(view, (yield from self._output(view, f"/v1/tasks/{view.task}/result", keep)))
        problem = view.get("problem")
        if problem and (check or result.exit_code is None):
            error = errors.of_problem(problem)
            if isinstance(error, errors.TaskError):
                error.result = result
                error.detail = error.detail or result.log.strip()
            keyword = LIMIT_KEYWORDS.get(view.get("limit", ""))
            if keyword is not None:
                # The daemon's hint names an option of the command line.
                error.hint = f"raise the limit with `{keyword}=…`, or mend the module"
            raise error
        return result

    def _output(self, view: View, path: str, keep: bool = False) -> "Flow[bytes]":
        """The bytes of what was written, fetched from ``path`` where they are a blob that may leave its place."""
        output = view.get("output") or {}
        if "text" in output:
            return output["text"].encode("utf-8")
        if "base64" in output:
            return base64.b64decode(output["base64"])
        if "blob" in output and not keep:
            return (yield from self._send(Request("GET", path, timeout=None))).body
        return b""

    def _wait(self, path: str, timeout: Optional[float]) -> "Flow[View]":
        """A task or a pipeline when it has ended."""
        left = timeout
        while True:
            wait = WAIT_SLICE if left is None else min(max(left, 0.0), WAIT_SLICE)
            request = Request("GET", f"{path}?wait_ms={int(wait * 1_000)}", timeout=self.timeout + wait)
            view = _read((yield from self._send(request)))
            if view.state in FINAL_STATES:
                return view
            left = None if left is None else left - wait
            if left is not None and left <= 0:
                raise errors.TimedOut(
                    f"it has not ended after {timeout} s",
                    detail=f"it is {view.state}",
                    hint="wait longer",
                    retryable=True,
                )


class TaskMethods:
    """A task that was submitted. The methods of an :class:`shoal.AsyncClient`'s task are awaited."""

    def __init__(self, client: Methods, view: View) -> None:
        self._client = client
        #: Its id.
        self.id: str = view["task"]
        #: What was known of it when it was submitted.
        self.view = view

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _drive(self, flow: "Flow[Any]") -> Any:
        return self._client._drive(flow)

    @exchange
    def show(self) -> Flow[View]:
        """The task as it is now."""
        return (yield from self._client._get(f"/v1/tasks/{self.id}"))

    @exchange
    def wait(self, timeout: Optional[float] = None) -> Flow[View]:
        """The task when it has ended, well or not; :class:`shoal.TimedOut` after so many seconds."""
        return (yield from self._client._wait(f"/v1/tasks/{self.id}", timeout))

    @exchange
    def result(self, timeout: Optional[float] = None, *, check: bool = True) -> Flow[Result]:
        """Its result when it has ended, as of :meth:`shoal.Client.run`."""
        view = yield from self._client._wait(f"/v1/tasks/{self.id}", timeout)
        return (yield from self._client._ended(view, check))

    @exchange
    def cancel(self) -> Flow[View]:
        """Withdraws it."""
        return (yield from self._client._ask("POST", f"/v1/tasks/{self.id}/cancel"))

    @exchange
    def explain(self) -> Flow[List[View]]:
        """Why it ran where it ran: one decision an attempt."""
        return (yield from self._client._list(f"/v1/tasks/{self.id}/explain"))

    @exchange
    def log(self) -> Flow[str]:
        """The end of what it wrote to standard error."""
        answer = yield from self._client._send(
            Request("GET", f"/v1/tasks/{self.id}/logs", timeout=self._client.timeout)
        )
        return answer.body.decode("utf-8", "replace")


class PipelineMethods:
    """A pipeline that was submitted. The methods of an :class:`shoal.AsyncClient`'s pipeline are awaited."""

    def __init__(self, client: Methods, view: View) -> None:
        self._client = client
        #: Its id.
        self.id: str = view["pipeline"]
        #: What was known of it when it was submitted.
        self.view = view

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _drive(self, flow: "Flow[Any]") -> Any:
        return self._client._drive(flow)

    @exchange
    def show(self) -> Flow[View]:
        """The pipeline as it is now, with each of its stages."""
        return (yield from self._client._get(f"/v1/pipelines/{self.id}"))

    @exchange
    def wait(self, timeout: Optional[float] = None) -> Flow[View]:
        """The pipeline when it has ended, well or not; :class:`shoal.TimedOut` after so many seconds."""
        return (yield from self._client._wait(f"/v1/pipelines/{self.id}", timeout))

    @exchange
    def results(self, timeout: Optional[float] = None) -> Flow[Dict[str, List[bytes]]]:
        """What those stages wrote that no other takes from, when it has ended: a list by stage, one entry an element.

        A pipeline without a good end raises its :class:`shoal.Problem`.
        """
        view = yield from self._client._wait(f"/v1/pipelines/{self.id}", timeout)
        if view.get("problem"):
            raise errors.of_problem(view.problem)
        found: Dict[str, List[bytes]] = {}
        for stage, outputs in view.get("results", {}).items():
            found[stage] = []
            for one in outputs:
                blob = one.output.get("blob")
                path = _blob_path(blob.id, one.get("holder")) if blob else ""
                found[stage].append((yield from self._client._output(one, path)))
        return found

    @exchange
    def cancel(self) -> Flow[View]:
        """Withdraws it."""
        return (yield from self._client._ask("POST", f"/v1/pipelines/{self.id}/cancel"))


if TYPE_CHECKING:
    from .client import Pipeline, Task


def _pipeline_options(
    name: str,
    deadline: Optional[float],
    priority: Optional[str],
    retention: Optional[float],
    idempotency_key: Optional[str],
    submitter: Optional[str],
) -> Dict[str, Any]:
    given = {
        "name": name,
        "deadline_ms": _requests.millis("deadline", deadline),
        "priority": priority,
        "retention_ms": _requests.millis("retention", retention),
        "idempotency_key": idempotency_key,
        "submitter": submitter,
    }
    return {key: value for key, value in given.items() if value is not None}


def _read(answer: Answer) -> View:
    try:
        view = json.loads(answer.body, object_hook=View)
    except ValueError as error:
        raise errors.WrongVersion(
            "the answer of shoald cannot be understood",
            detail=str(error),
            hint="use this package and shoald of the same version",
        ) from error
    theirs = view.get("schema", SCHEMA) if isinstance(view, dict) else None
    if theirs != SCHEMA:
        raise errors.WrongVersion(
            f"shoald speaks {theirs}, this package speaks {SCHEMA}",
            hint="use this package and shoald of the same version",
        )
    return view


def _refusal(answer: Answer) -> errors.ShoalError:
    try:
        problem = json.loads(answer.body)
        if isinstance(problem, dict) and "code" in problem:
            return errors.of_problem(problem)
    except ValueError:
        pass
    return errors.WrongVersion(
        f"HTTP status {answer.status} without a problem document",
        hint="what answers at this socket is no shoald, or not one of this version",
        status=answer.status,
    )


def _header(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise errors.BadInput(f"a key of {text!r}", hint="use letters, digits and signs of ASCII")
    return text


def _quoted(text: str) -> str:
    return urllib.parse.quote(str(text), safe="-._~")


def _blob_path(blob: Union[Blob, str], peer: Optional[str] = None) -> str:
    return f"/v1/blobs/{_quoted(str(blob))}" + ("" if peer is None else f"?from={_quoted(peer)}")
