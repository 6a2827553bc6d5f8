"""What the steps of a :class:`shoal.compat.LeptonAI` cost, where they ran and how long they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional

from .results import View, total

if TYPE_CHECKING:
    from .outcome import Results

#: The terms of the objective, in the order of the formula; `shoal_protocol::placement::explain::Cost`.
TERMS = ("loss", "wait", "transfer", "compute")
#: What is said of a step's time, in the order it passes.
PARTS = ("placing", "prepare", "queued", "run", "total")


@dataclass
class Step:
    """One task that was run."""

    #: ``process``, ``transfer`` or ``compute``.
    kind: str
    #: Whose rows; nothing outside of `process_data`.
    user: Optional[int]
    #: The peer it was asked of.
    home: str
    #: The peer that ran it.
    node: str
    role: str
    #: The terms of its cost for that peer, as they were when it was decided.
    cost: Optional[View]
    #: Microseconds: ``placing_us``, ``prepare_us``, ``queued_us``, ``run_us``, ``total_us``.
    timings: View
    #: The whole decision.
    decision: Optional[View]
    bytes_in: int = 0
    bytes_out: int = 0
    #: What the rows would take at eight bytes a value.
    raw_bytes: int = 0
    #: Of a transfer: where to, how many bytes were fetched there, and how long that took.
    target: Optional[str] = None
    delivered_bytes: int = 0
    deliver_seconds: float = 0.0


class Report:
    """Figures of all steps so far; ``print`` it, or take ``as_dict()``."""

    def __init__(self, steps: List[Step], results: Optional["Results"], nodes: List[str], mesh: Optional[View]) -> None:
        self.steps = steps
        self.results = results
        self.nodes = nodes
        self.mesh = mesh

    @property
    def cost(self) -> Dict[str, float]:
        """The objective by term, summed over the steps: ``loss``, ``wait``, ``transfer``, ``compute`` and ``total``.

        The unit is the cost of one millisecond at weight 1. ``loss`` is what a step's declared loss, lateness and price
        add; how wrong the predictions were is ``f``.
        """
        known = [step.cost for step in self.steps if step.cost]
        sums = {term: sum(float(cost[term]) for cost in known) for term in TERMS}
        return {**sums, "total": sum(total(cost) for cost in known)}

    @property
    def f(self) -> Dict[str, Any]:
        """The mean log loss and accuracy of the last `process_data`: ``all``, and a list by user."""
        if self.results is None:
            return {}
        return {
            "all": self.results.loss,
            "accuracy": self.results.accuracy,
            "users": [{"user": user.user, "loss": user.loss, "accuracy": user.accuracy} for user in self.results],
        }

    @property
    def placement(self) -> Dict[str, Dict[str, int]]:
        """How many tasks of each kind each node ran."""
        counted: Dict[str, Dict[str, int]] = {}
        for step in self.steps:
            nodes = counted.setdefault(step.kind, dict.fromkeys(self.nodes, 0))
            nodes[step.node] = nodes.get(step.node, 0) + 1
        return counted

    @property
    def delays(self) -> Dict[str, Dict[str, float]]:
        """Mean milliseconds of each kind of task: ``placing``, ``prepare``, ``queued``, ``run``, ``total``; of
        transfers also ``deliver``."""
        found: Dict[str, Dict[str, float]] = {}
        for kind, steps in self._by_kind().items():
            parts = {part: _mean(float(step.timings.get(f"{part}_us", 0)) / 1e3 for step in steps) for part in PARTS}
            if kind == "transfer":
                delivered = [step.deliver_seconds * 1e3 for step in steps if step.delivered_bytes]
                parts["deliver"] = _mean(delivered) if delivered else 0.0
            found[kind] = parts
        return found

    @property
    def bytes(self) -> Dict[str, float]:
        """Of transfers: ``raw`` at eight bytes a value, ``compacted``, ``saved``, ``saved_percent``, and ``delivered``
        over the mesh's links."""
        moved = [step for step in self.steps if step.kind == "transfer"]
        raw, compacted = sum(step.raw_bytes for step in moved), sum(step.bytes_out for step in moved)
        return {
            "raw": raw,
            "compacted": compacted,
            "saved": raw - compacted,
            "saved_percent": 100.0 * (raw - compacted) / raw if raw else 0.0,
            "delivered": sum(step.delivered_bytes for step in moved),
        }

    def as_dict(self) -> Dict[str, Any]:
        """All of it, fit for JSON."""
        return {
            "tasks": len(self.steps),
            "cost": self.cost,
            "f": self.f,
            "placement": self.placement,
            "delays_ms": self.delays,
            "bytes": self.bytes,
            "network": None if self.mesh is None else self.mesh.get("network"),
        }

    def __str__(self) -> str:
        cost, moved = self.cost, self.bytes
        lines = [f"{len(self.steps)} tasks on {len(self.nodes)} nodes"]
        if self.results is not None and self.results.loss is not None:
            users = "  ".join(f"{user.user}: {_shown(user.loss)}" for user in self.results)
            lines.append(
                f"f     mean log loss {self.results.loss:.4f}, {100 * (self.results.accuracy or 0):.1f} % right   "
                f"by user  {users}"
            )
        lines.append("cost  " + " + ".join(f"{term} {cost[term]:.1f}" for term in TERMS) + f" = {cost['total']:.1f}")
        for kind, delays in self.delays.items():
            where = ", ".join(f"{node} {count}" for node, count in self.placement[kind].items() if count)
            lines.append(
                f"{kind:<9} " + "  ".join(f"{part} {ms:.1f} ms" for part, ms in delays.items()) + f"   at {where}"
            )
        if moved["raw"]:
            lines.append(
                f"bytes {moved['raw']:,} made {moved['compacted']:,} for the way "
                f"({moved['saved_percent']:.1f} % saved), {moved['delivered']:,} delivered"
            )
        return "\n".join(lines)

    def _by_kind(self) -> Dict[str, List[Step]]:
        kinds: Dict[str, List[Step]] = {}
        for step in self.steps:
            kinds.setdefault(step.kind, []).append(step)
        return kinds


def _mean(numbers: Iterable[float]) -> float:
    listed = list(numbers)
    return sum(listed) / len(listed)


def _shown(loss: Optional[float]) -> str:
    return "-" if loss is None else f"{loss:.4f}"
