"""What came of a sequence of steps: predictions, and the loss f on the labels, for each user and over all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, List, Optional, Sequence, Tuple

from .errors import BadInput
from .table import Table

#: A probability is not taken for less sure than this, so that one wrong certainty does not make a mean infinite.
PROBABILITY_MIN = 1e-15


def _check_pairs(labels: Sequence[int], probabilities: Sequence[float]) -> None:
    if len(labels) != len(probabilities) or not len(labels):
        raise BadInput(
            f"there are {len(labels)} labels and {len(probabilities)} probabilities", hint="give one of each for each row"
        )


def log_loss(labels: Sequence[int], probabilities: Sequence[float]) -> float:
    """f: the mean of -ln of the probability that was given to the right class.

    >>> round(log_loss([1, 0], [0.9, 0.2]), 4)
    0.1643
    """
    _check_pairs(labels, probabilities)
    total = 0.0
    for label, probability in zip(labels, probabilities):
        right = probability if label else 1.0 - probability
        total -= math.log(min(max(right, PROBABILITY_MIN), 1.0))
    return total / len(labels)


def accuracy(labels: Sequence[int], probabilities: Sequence[float]) -> float:
    """The share of rows whose likelier class is the right one."""
    _check_pairs(labels, probabilities)
    return sum((p > 0.5) == bool(label) for label, p in zip(labels, probabilities)) / len(labels)


class Predictions(Sequence[float]):
    """The probability of class 1 for each row, and the model that `compute` fitted or applied."""

    def __init__(self, probabilities: Sequence[float], model: Optional[Table], scale: Optional[Table] = None) -> None:
        self._probabilities = list(probabilities)
        #: A weight for each column, then the intercept.
        self.model = model
        #: What the rows were standardised by, where they were.
        self.scale = scale

    def __len__(self) -> int:
        return len(self._probabilities)

    def __getitem__(self, row: Any) -> Any:
        return self._probabilities[row]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy

        return numpy.array(self._probabilities, dtype=dtype or float)

    def __repr__(self) -> str:
        return f"Predictions({len(self)} rows)"


@dataclass(frozen=True)
class UserResult:
    """What became of one user's rows."""

    #: The user's number, from 0.
    user: int
    #: The first of the user's rows, and the row behind the last.
    rows: Tuple[int, int]
    #: The node that each step was given.
    nodes: Tuple[Optional[int], ...]
    #: What the last step returned.
    output: Any = field(repr=False)
    #: f on the labels, where the last step returned a probability for each row.
    loss: Optional[float]
    accuracy: Optional[float]


class Results(Sequence[UserResult]):
    """One :class:`UserResult` a user, and f over all of them."""

    def __init__(self, users: Sequence[UserResult]) -> None:
        self.users = list(users)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, user: Any) -> Any:
        return self.users[user]

    @property
    def loss(self) -> Optional[float]:
        """f: the mean log loss over all rows."""
        return self._mean([(user.rows, user.loss) for user in self.users])

    @property
    def accuracy(self) -> Optional[float]:
        """The share of all rows that were judged right."""
        return self._mean([(user.rows, user.accuracy) for user in self.users])

    @property
    def predictions(self) -> List[float]:
        """The probabilities in the order of the rows that were given."""
        return [probability for user in self.users for probability in user.output]

    @staticmethod
    def _mean(parts: Sequence[Tuple[Tuple[int, int], Optional[float]]]) -> Optional[float]:
        known = [(last - first, value) for (first, last), value in parts if value is not None]
        return sum(rows * value for rows, value in known) / sum(rows for rows, _ in known) if known else None

    def __repr__(self) -> str:
        return f"Results({len(self)} users, loss={self.loss}, accuracy={self.accuracy})"


def probabilities_of(output: Any, rows: int) -> Optional[List[float]]:
    """The output as a probability a row, if that is what it is."""
    if isinstance(output, (str, bytes, dict, Table)) or not hasattr(output, "__len__") or len(output) != rows:
        return None
    listed = output.tolist() if hasattr(output, "tolist") else list(output)
    if all(isinstance(one, (int, float)) and 0.0 <= one <= 1.0 for one in listed):
        return [float(one) for one in listed]
    return None
