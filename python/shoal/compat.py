"""`LeptonAI`: process, transfer and compute on a mesh of cloud and edge nodes.

>>> with LeptonAI(num_cloud_nodes=3, num_edge_nodes=2) as lepton:
...     results = lepton.process_data(data, labels, [lepton.process, lepton.transfer, lepton.compute])
...     print(results.loss, results.accuracy)
...     print(lepton.report())

Nodes are numbered cloud first, then edge: with three cloud and two edge nodes, 0, 1, 2 are cloud and 3, 4 are edge.
``None`` for a node lets the mesh decide. Every step is a WebAssembly task (`standardise`, `compact`, `classify`) run by
a peer, and each can be replaced by a module of one's own that reads and writes tables (:mod:`shoal.table`).

**How labels travel.** `process_data` gives each user's rows to the functions with their labels:
:class:`shoal.table.Table`, what the steps return, carries them, and for what a function makes by itself (an array, a
list) the labels of the user's rows are taken if there are as many rows. So a function of one's own must keep the rows'
order, or return a table with labels.
"""

from __future__ import annotations

import contextvars
import operator
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import table as tables_of
from ._averaging import averaged
from ._modules import ModuleLike
from ._requests import INLINE_BYTES_MAX, Blob
from .client import Client
from .errors import (
    AllDeclined,
    AttemptsExhausted,
    BadInput,
    ConnectionBroke,
    NoCandidate,
    NoSuchBlob,
    NoSuchPeer,
    Unreachable,
)
from .mesh import Mesh
from .outcome import Predictions, Results, UserResult, accuracy, log_loss, probabilities_of
from .report import Report, Step
from .results import Result, View
from .table import Table

__all__ = ["LeptonAI", "Predictions", "Results", "StepFunction", "UserResult", "accuracy", "log_loss"]

#: What is said of a task that only a node may run that is there no more.
GONE = (AllDeclined, AttemptsExhausted, ConnectionBroke, NoCandidate, NoSuchPeer, Unreachable)
#: Tables of up to so many bytes, at eight a value, fit what a task may use where nothing is said.
PLAIN_BYTES_SMALL = 2 << 20
#: Tables of which it is remembered that a peer's store has them.
BLOBS_MAX = 64

#: A step of a sequence: it is given data and the number of a node.
StepFunction = Callable[[Any, Optional[int]], Any]


@dataclass(frozen=True)
class _Context:
    """Whose rows the running call is about."""

    user: int
    home: str
    labels: Sequence[int]
    #: The node that the mesh chose for the step at hand.
    decided: Optional[int] = None


_CONTEXT: "contextvars.ContextVar[Optional[_Context]]" = contextvars.ContextVar("shoal.compat", default=None)


class LeptonAI:
    """A mesh of cloud and edge nodes, and the three steps of work on it.

    Without ``mesh`` it starts peers on this machine, each a process of its own, behind emulated links where the machine
    allows that (2 ms between edges, 30 ms to the cloud), and ends them with this program, however that ends. With
    ``mesh`` it joins one: a :class:`shoal.Mesh`, the directory of `shoal-testnet up`, a socket, or a list of sockets;
    the numbers of nodes, if given, must then be those of the mesh.

    ``process_module``, ``transfer_module``, ``compute_module``: a name, a path or the bytes of a module that does the
    step instead; with ``process_args`` and so on as its arguments. ``missing="mean"`` has `process` fill what is not a
    number; otherwise it is refused with its place. ``options`` are given to every task (:class:`shoal.Options`), as in ``{"weight": 2.0}``.
    """

    def __init__(
        self,
        num_cloud_nodes: Optional[int] = None,
        num_edge_nodes: Optional[int] = None,
        *,
        mesh: Any = None,
        loopback: bool = False,
        missing: str = "refuse",
        process_module: ModuleLike = "standardise",
        process_args: Sequence[object] = (),
        transfer_module: ModuleLike = "compact",
        transfer_args: Sequence[object] = (),
        compute_module: ModuleLike = "classify",
        compute_args: Sequence[object] = (),
        options: Optional[Dict[str, Any]] = None,
    ) -> None:
        if missing not in ("refuse", "mean"):
            raise BadInput(f"missing is {missing!r}", hint="use 'refuse' or 'mean'")
        self._missing = missing
        if missing == "mean" and process_module == "standardise":
            process_args = [*process_args, "--missing", "mean"]
        self._modules = {
            "process": (process_module, list(process_args)),
            "transfer": (transfer_module, list(transfer_args)),
            "compute": (compute_module, list(compute_args)),
        }
        self._options = dict(options or {})
        self._steps: List[Step] = []
        self._blobs: Dict[Tuple[str, bytes], Blob] = {}
        self._lock = threading.Lock()
        self._results: Optional[Results] = None
        #: The model that `compute` applies to rows without labels: the one it fitted last; after `process_data` the
        #: mean of the users' models, weighted by their rows (federated averaging; McMahan et al., 2017).
        self.model: Optional[Table] = None
        #: What rows must be standardised by for that model: ``lepton.process(rows, like=lepton.scale)``.
        self.scale: Optional[Table] = None
        #: The mesh: its peers are the nodes.
        # Who made it ends it: one that was given belongs to somebody else.
        self._owns_mesh = not isinstance(mesh, Mesh)
        self.mesh = (
            Mesh.start(_number(num_cloud_nodes, 3), _number(num_edge_nodes, 2), loopback=loopback)
            if mesh is None
            else Mesh.join(mesh)
        )
        try:
            self._check_counts(num_cloud_nodes, num_edge_nodes)
            # People's data arise at the edge; where there is none, at the cloud.
            asked = [peer.name for peer in self.mesh.peers if peer.api is not None]
            edges = [peer.name for peer in self.mesh.peers if peer.api is not None and peer.role == "edge"]
            self._homes = edges or asked
            if not self._homes:
                raise BadInput("no peer of the mesh can be asked", hint="give a socket of it: mesh='unix:PATH'")
        except BaseException:
            self.close()
            raise

    # Nodes.

    @property
    def nodes(self) -> List[str]:
        """The names of the nodes: the place of a name is its number.

        >>> lepton.nodes
        ['cloud-1', 'cloud-2', 'cloud-3', 'edge-1', 'edge-2']
        """
        return [peer.name for peer in self.mesh.peers]

    def node_name(self, node: Any) -> Optional[str]:
        """The name of a node's peer; nothing where the mesh decides."""
        if node is None:
            return None
        try:
            number = operator.index(node)
        except TypeError:
            number = -1
        if isinstance(node, bool) or not 0 <= number < len(self.mesh.peers):
            raise BadInput(
                f"there is no node {node!r}",
                detail=self._numbering(),
                hint="give one of these, or None to let the mesh decide",
            )
        return self.mesh.peers[number].name

    def _numbering(self) -> str:
        clouds = sum(peer.role == "cloud" for peer in self.mesh.peers)
        spans = ((0, clouds, "cloud"), (clouds, len(self.mesh.peers), "edge"))
        return " and ".join(
            f"{first} is a {what} node" if last - first == 1 else f"{first} to {last - 1} are {what} nodes"
            for first, last, what in spans
            if last > first
        )

    def _check_counts(self, cloud: Optional[int], edge: Optional[int]) -> None:
        for what, given in (("cloud", cloud), ("edge", edge)):
            there = sum(peer.role == what for peer in self.mesh.peers)
            if given is not None and given != there:
                raise BadInput(
                    f"the mesh has {there} {what} nodes, not {given}", hint="give the number it has, or none"
                )

    # The three steps.

    def process(self, data: Any, node: Optional[int] = None, *, like: Optional[Table] = None) -> Table:
        """Cleans the rows and standardises their columns (mean 0, deviation 1, cut at 5 deviations), near the data or
        at a node.

        Rows that a model is to be applied to are standardised like those it was fitted to: ``like`` is
        ``lepton.scale``, or a table that `process` returned.

        >>> lepton.compute(lepton.process(fresh, like=lepton.scale))
        """
        table = self._table(data)
        pieces = [table]
        if like is not None:
            scale = like.scale or like
            if scale.shape != (2, table.columns):
                raise BadInput(
                    f"`like` has {scale.rows} rows of {scale.columns}, not a mean and a deviation for {table.columns} columns",
                    hint="give lepton.scale, or a table that `process` returned",
                )
            pieces.append(scale)
        result, step = self._run("process", pieces, node)
        self._note(step, table.nbytes, len(result.output))
        return self._written(result, "process")

    def transfer(self, data: Any, node: Optional[int] = None) -> Table:
        """Takes the rows to a node, made small for the way: 16 bits a value, rounded to 1/65,535 of what the column
        spans.

        They are made small where they are; the node then fetches them, verified by their hash, and holds them for the
        next step. Without a node the mesh says where they would be computed on, and they are taken there.
        """
        table = self._table(data)
        name = self.node_name(node)
        result, step = self._run("transfer", [table], None)
        small = self._written(result, "transfer")
        small.scale = small.scale or table.scale
        if name is None:
            decided = self._decide("compute", small)
            name = None if decided is None else self.mesh.peers[decided].name
        try:
            self._deliver(small, name, step)
        except (*GONE, NoSuchBlob):
            # As in `_run`; the bytes go with the step that needs them.
            if node is not None and not self._was_decided(node):
                raise
        self._note(step, table.nbytes, small.nbytes, raw=_plain_bytes(table))
        return small

    def compute(
        self, data: Any, node: Optional[int] = None, *, labels: Any = None, model: Optional[Table] = None
    ) -> Predictions:
        """The probability of class 1 for each row.

        With labels (in ``labels``, in the table, or in the call of `process_data` that is under way) a logistic
        regression is fitted, and each row judged by a model that was fitted to the rows of other folds: so the loss
        says what the model is worth on rows it has not seen. Without labels ``model`` is applied, or the one that was
        fitted last.
        """
        table = self._table(data, labels)
        pieces = [table]
        context = _CONTEXT.get()
        if model is None and table.labels is None and context is not None and context.labels:
            raise BadInput(
                f"a step before changed the number of rows: there are {len(context.labels)} labels for {table.rows}",
                hint="keep the rows and their order, or return a shoal.Table with labels of its own",
            )
        if model is not None or table.labels is None:
            model = self.model if model is None else model
            if model is None:
                raise BadInput(
                    "there are no labels to fit a model to, and no model was fitted before",
                    hint="call process_data(data, labels, …) first, or compute(data, node, labels=labels)",
                )
            pieces = [table.without_labels(), model]
        result, step = self._run("compute", pieces, node)
        self._note(step, sum(piece.nbytes for piece in pieces), len(result.output))
        judged, *rest = tables_of.tables(result.output)
        if judged.rows != table.rows:
            raise BadInput(
                f"the module of `compute` gave {judged.rows} rows for {table.rows}",
                hint="it writes a table of one probability a row",
            )
        fitted = rest[0] if rest else None
        if len(pieces) == 1 and _CONTEXT.get() is None:
            self.model, self.scale = fitted, table.scale
        return Predictions([row[0] for row in judged], fitted, table.scale)

    # A sequence of steps for several users.

    def process_data(
        self,
        data: Any,
        labels: Any,
        sequence: Sequence[StepFunction],
        *,
        users: int = 5,
        concurrency: Optional[int] = None,
    ) -> Results:
        """Splits the rows among users and takes each user's through the sequence; returns what came of it, with the
        loss f on the labels.

        Before each step the mesh is asked where it would be placed now (a dry run at the user's own edge node), and the
        function is called with the rows and that node's number. The first step is placed like `process`, the last like
        `compute`, those between like `transfer`: where the computing would be. Users go side by side, ``concurrency``
        at a time (all, where it is not said); with 1 the functions are never called at the same time.
        """
        steps = list(sequence)
        if not steps or not all(callable(step) for step in steps):
            raise BadInput(
                "the sequence is empty" if not steps else "a step of the sequence is no function",
                hint="give functions of (data, node)",
            )
        for what, number in (("users", users), ("concurrency", 1 if concurrency is None else concurrency)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise BadInput(f"{what} is {number!r}", hint="give a whole number, 1 or more")
        # Checked as a whole, so that an error names the row as its user counts it.
        whole = Table.of(data, labels, allow_missing=self._missing == "mean")
        listed = whole.labels or []
        source = data if hasattr(data, "__getitem__") else whole.tolist()
        shares = _shares(whole.rows, users)

        def one(user: int) -> UserResult:
            first, last = shares[user]
            home = self._homes[user % len(self._homes)]
            context = _Context(user, home, listed[first:last])
            return contextvars.copy_context().run(
                self._take_through, context, _rows(source, first, last), steps, (first, last)
            )

        with ThreadPoolExecutor(min(len(shares), concurrency or len(shares)), "shoal user") as pool:
            waiting = [pool.submit(one, user) for user in range(len(shares))]
            try:
                results = Results([each.result() for each in waiting])
            except BaseException:
                for each in waiting:
                    each.cancel()
                raise
        self._results = results
        mean = averaged(results)
        if mean is not None:
            self.model, self.scale = mean
        return results

    def _take_through(
        self, context: _Context, rows: Any, steps: List[StepFunction], share: Tuple[int, int]
    ) -> UserResult:
        _CONTEXT.set(context)
        nodes = []
        for place, step in enumerate(steps):
            node = self._decide(self._kind(step, place, len(steps)), rows)
            nodes.append(node)
            _CONTEXT.set(replace(context, decided=node))
            rows = step(rows, node)
        probabilities = probabilities_of(rows, len(context.labels))
        loss = None if probabilities is None else log_loss(context.labels, probabilities)
        right = None if probabilities is None else accuracy(context.labels, probabilities)
        return UserResult(context.user, share, tuple(nodes), rows, loss, right)

    def _kind(self, step: StepFunction, place: int, count: int) -> str:
        for kind in self._modules:
            if step == getattr(self, kind):
                return kind
        if place == count - 1:
            return "compute"
        return "process" if place == 0 else "transfer"

    def _decide(self, kind: str, data: Any) -> Optional[int]:
        """The node that a step of this kind would be placed at now."""
        kind = "compute" if kind == "transfer" else kind
        module, args = self._modules[kind]
        try:
            pieces = [self._table(data)]
        except BadInput:
            # What a function of the user's own made of the rows need not be a table.
            pieces = []
        home = self._home()
        options = {**_limits(pieces), **self._options}
        decision = self.mesh.client(home).dry_run(
            module, [self._piece(piece, home) for piece in pieces], args=args, **options
        )
        return next((place for place, peer in enumerate(self.mesh.peers) if peer.peer == decision.executor), None)

    # How it went.

    def report(self) -> Report:
        """What it cost so far, by term; where it ran; how long it took; which bytes went, and how many were saved."""
        with self._lock:
            return Report(list(self._steps), self._results, self.nodes, self.mesh.view)

    def close(self) -> None:
        """Ends the mesh if it was started here."""
        if self._owns_mesh:
            self.mesh.close()

    def __enter__(self) -> "LeptonAI":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # What the steps are made of.

    def _home(self) -> str:
        context = _CONTEXT.get()
        return self._homes[0] if context is None else context.home

    def _table(self, data: Any, labels: Any = None) -> Table:
        table = Table.of(data, labels, allow_missing=self._missing == "mean")
        context = _CONTEXT.get()
        if table.labels is None and context is not None and len(context.labels) == table.rows:
            table = table.with_labels(context.labels)
        return table

    def _run(self, kind: str, pieces: List[Table], node: Optional[int]) -> Tuple[Result, Step]:
        name = self.node_name(node)
        module, args = self._modules[kind]
        home = self._home()
        client = self.mesh.client(home)

        options = {**_limits(pieces), **self._options}

        def ask(peer: Optional[str]) -> Result:
            placed = dict(options) if peer is None else {**options, "peer": peer}
            if peer is not None and self._was_decided(node):
                # A node that is lost is not waited for: another will do.
                placed.setdefault("retries", 0)
            return client.run(module, [self._piece(piece, home) for piece in pieces], args=args, **placed)

        try:
            result = ask(name)
        except NoSuchBlob:
            # A store forgets what was not used for long.
            self._forget(home)
            result = ask(name)
        except GONE:
            if not self._was_decided(node):
                raise
            # The mesh chose that node, and it is gone since: the mesh chooses again.
            result = ask(None)
        context = _CONTEXT.get()
        decision = _last_decision(client, result)
        step = Step(
            kind=kind,
            user=None if context is None else context.user,
            home=home,
            node=result.executor or "",
            role=result.role or "",
            cost=_cost_of(decision, result),
            timings=result.timings,
            decision=decision,
        )
        return result, step

    def _was_decided(self, node: Optional[int]) -> bool:
        context = _CONTEXT.get()
        return context is not None and node is not None and context.decided == node

    def _piece(self, table: Table, home: str) -> Any:
        """A table as an input: in the request where it is small, as a blob where its node holds it or it is large."""
        with self._lock:
            blob = self._blobs.get((home, table.key))
        if blob is None and table.nbytes <= INLINE_BYTES_MAX // 2:
            return table.frame
        return blob or self._stored(table, home)

    def _stored(self, table: Table, home: str) -> Blob:
        """The table as a blob in the store of its user's peer."""
        key = (home, table.key)
        with self._lock:
            blob = self._blobs.get(key)
        if blob is None:
            blob = self.mesh.client(home).put(table.frame)
            with self._lock:
                while len(self._blobs) >= BLOBS_MAX:
                    del self._blobs[next(iter(self._blobs))]
                self._blobs[key] = blob
        return blob

    def _forget(self, home: str) -> None:
        with self._lock:
            self._blobs = {key: blob for key, blob in self._blobs.items() if key[0] != home}

    def _deliver(self, table: Table, name: Optional[str], step: Step) -> None:
        """Has the node's own peer fetch the table from the user's."""
        home = self._home()
        step.target = name
        target = next((peer for peer in self.mesh.peers if peer.name == name), None)
        if target is None or target.name == home:
            return
        blob = self._stored(table, home)
        if target.api is None:
            # Known by name only: the bytes go there with the task that needs them.
            return
        began = time.perf_counter()
        self.mesh.client(target.name).get(blob, peer=home)
        step.deliver_seconds = time.perf_counter() - began
        step.delivered_bytes = table.nbytes

    def _written(self, result: Result, kind: str) -> Table:
        try:
            # To write nothing is not to write a table.
            table, *behind = tables_of.tables(result.output) or [Table(result.output)]
            table.scale = next((scale for scale in behind if scale.shape == (2, table.columns)), None)
            return table
        except BadInput as error:
            raise BadInput(
                f"the module of `{kind}` did not write a table", detail=error.detail or error.title, hint=error.hint
            ) from error

    def _note(self, step: Step, bytes_in: int, bytes_out: int, raw: Optional[int] = None) -> None:
        step.bytes_in, step.bytes_out = bytes_in, bytes_out
        step.raw_bytes = bytes_in if raw is None else raw
        with self._lock:
            self._steps.append(step)


def _limits(pieces: Sequence[Table]) -> Dict[str, Any]:
    """What a large table needs beyond what a task may use where nothing is said."""
    plain = sum(_plain_bytes(piece) for piece in pieces)
    if plain <= PLAIN_BYTES_SMALL:
        return {}
    # The input, its numbers, the output, and of a fit each row's place in it twice.
    memory = sum(piece.nbytes + 64 * piece.rows for piece in pieces) + 3 * plain + (16 << 20)
    return {"memory": memory, "output_limit": plain + (1 << 20)}


def _number(given: Optional[int], default: int) -> int:
    return default if given is None else given


def _shares(rows: int, users: int) -> List[Tuple[int, int]]:
    """Each user's first row and the one behind the last, as equal as can be; with fewer rows than users, a row each."""
    users = min(users, rows)
    bounds = [user * rows // users for user in range(users + 1)]
    return list(zip(bounds, bounds[1:]))


def _rows(source: Any, first: int, last: int) -> Any:
    """A user's rows in the form that was given."""
    if isinstance(source, Table):
        return Table.of(source.tolist()[first:last], (source.labels or [])[first:last] or None)
    # A data frame takes rows by position here only.
    return source.iloc[first:last] if hasattr(source, "iloc") else source[first:last]


def _plain_bytes(table: Table) -> int:
    """What the table takes where nothing is made small: eight bytes a value."""
    labels = table.rows if table.labels is not None else 0
    return tables_of.HEAD.size + 8 * table.rows * table.columns + labels


def _last_decision(client: Client, result: Result) -> Optional[View]:
    decisions = client.explain(result.task)
    return decisions[-1] if decisions else None


def _cost_of(decision: Optional[View], result: Result) -> Optional[View]:
    """The objective's terms for the peer that ran it, as they were when that was decided."""
    candidates = [] if decision is None else decision.candidates
    return next((candidate.cost for candidate in candidates if candidate.name == result.executor), None)
