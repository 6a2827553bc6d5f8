"""Tables of numbers as the modules `standardise`, `compact` and `classify` read and write them.

The bytes are described in ``examples/src/tabular/frame.rs``: a head of 16 bytes (``SHM1``, encoding, whether labels
follow, rows, columns), the values row after row as little-endian f64, f32, or i16 quantised by column, and a byte a row
for the labels.
"""

from __future__ import annotations

import hashlib
import math
import struct
import sys
from array import array
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from .errors import BadInput

MAGIC = b"SHM1"
HEAD = struct.Struct("<4sBBHII")
#: Bytes of a value, by encoding.
VALUE_BYTES = {0: 8, 1: 4, 2: 2}
ENCODINGS = {0: "f64", 1: "f32", 2: "i16"}


class Table:
    """Rows of numbers, perhaps with a label for each row; immutable.

    Numpy takes it for an array (``numpy.asarray(table)``), and :meth:`tolist` gives plain lists.

    >>> table = Table.of([[1, 2.5], [3, 4]], labels=[0, 1])
    >>> table.rows, table.columns, table.labels, table[1]
    (2, 2, [0, 1], [3.0, 4.0])
    """

    def __init__(self, frame: bytes, scale: Optional["Table"] = None) -> None:
        #: What its columns were standardised by, where they were: two rows, the means and the deviations.
        self.scale = scale
        self.frame, rest = cut(frame)
        if rest:
            raise BadInput(f"{len(rest)} bytes follow the table", hint="use `tables` for several")
        _, self._encoding, self._is_labelled, _, self.rows, self.columns = HEAD.unpack_from(self.frame)
        self._values: Optional["array[float]"] = None

    @classmethod
    def of(cls, data: Any, labels: Any = None, *, allow_missing: bool = False) -> "Table":
        """A table of an array, or of a list of rows; says where something is wrong."""
        if isinstance(data, Table):
            return data if labels is None else data.with_labels(labels)
        numpy = sys.modules.get("numpy")
        if numpy is not None and hasattr(data, "__array__"):
            rows, columns, values = _of_array(numpy, data, allow_missing)
        else:
            rows, columns, values = _of_rows(data, allow_missing)
        label_bytes = b"" if labels is None else labels_of(labels, rows)
        return cls(HEAD.pack(MAGIC, 0, labels is not None, 0, rows, columns) + values + label_bytes)

    @property
    def labels(self) -> Optional[List[int]]:
        """0 or 1 for each row, where there are labels."""
        return list(self.frame[-self.rows :]) if self._is_labelled else None

    @property
    def encoding(self) -> str:
        """How the values are written: ``f64``, ``f32`` or ``i16``."""
        return ENCODINGS[self._encoding]

    @property
    def shape(self) -> Tuple[int, int]:
        return self.rows, self.columns

    @property
    def key(self) -> bytes:
        """What tells it from other tables, in 32 bytes."""
        return hashlib.sha256(self.frame).digest()

    @property
    def nbytes(self) -> int:
        """Size of the whole, in bytes."""
        return len(self.frame)

    def with_labels(self, labels: Any) -> "Table":
        """The same rows with these labels."""
        end = len(self.frame) - (self.rows if self._is_labelled else 0)
        head = HEAD.pack(MAGIC, self._encoding, 1, 0, self.rows, self.columns)
        return Table(head + self.frame[HEAD.size : end] + labels_of(labels, self.rows), self.scale)

    def without_labels(self) -> "Table":
        """The same rows without labels."""
        if not self._is_labelled:
            return self
        head = HEAD.pack(MAGIC, self._encoding, 0, 0, self.rows, self.columns)
        return Table(head + self.frame[HEAD.size : -self.rows], self.scale)

    def values(self) -> "array[float]":
        """All values, row after row."""
        if self._values is None:
            self._values = self._decoded()
        return self._values

    def _decoded(self) -> "array[float]":
        count = self.rows * self.columns
        start = HEAD.size + (16 * self.columns if self._encoding == 2 else 0)
        numbers: Any = array("dfh"[self._encoding], self.frame[start : start + count * VALUE_BYTES[self._encoding]])
        if sys.byteorder == "big":
            numbers.byteswap()
        if self._encoding == 0:
            return numbers
        if self._encoding == 1:
            return array("d", numbers)
        scales = struct.unpack_from(f"<{2 * self.columns}d", self.frame, HEAD.size)
        values = array("d", bytes(8 * count))
        for column in range(self.columns):
            offset, step = scales[2 * column], scales[2 * column + 1]
            values[column :: self.columns] = array("d", (offset + step * n for n in numbers[column :: self.columns]))
        return values

    def tolist(self) -> List[List[float]]:
        return [self[row] for row in range(self.rows)]

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> List[float]:
        if not -self.rows <= row < self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        start = (row % self.rows) * self.columns
        return list(self.values()[start : start + self.columns])

    def __iter__(self) -> Iterator[List[float]]:
        return (self[row] for row in range(self.rows))

    def __eq__(self, other: object) -> bool:
        return self.frame == other.frame if isinstance(other, Table) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.frame)

    def __repr__(self) -> str:
        labelled = ", labelled" if self._is_labelled else ""
        return f"Table({self.rows} rows of {self.columns}, {self.encoding}{labelled}, {self.nbytes} bytes)"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy

        return numpy.array(self.values(), dtype=dtype or float).reshape(self.rows, self.columns)


def tables(data: bytes) -> List[Table]:
    """The tables that stand one behind the other."""
    found = []
    while data:
        frame, data = cut(data)
        found.append(Table(frame))
    return found


def cut(data: bytes) -> Tuple[bytes, bytes]:
    """The first frame, and what follows it."""
    if len(data) < HEAD.size or data[:4] != MAGIC:
        raise BadInput(
            "the bytes are not a table",
            detail=f"they begin with {bytes(data[:8])!r}, not with b'SHM1'",
            hint="a module for tables writes frames: see examples/src/tabular/frame.rs",
        )
    _, encoding, labelled, zero, rows, columns = HEAD.unpack_from(data)
    if encoding not in VALUE_BYTES or labelled > 1 or zero or not rows or not columns:
        raise BadInput(
            "the head of the table is wrong",
            detail=bytes(data[: HEAD.size]).hex(),
            hint="see examples/src/tabular/frame.rs",
        )
    scales = 16 * columns if encoding == 2 else 0
    end = HEAD.size + scales + rows * columns * VALUE_BYTES[encoding] + (rows if labelled else 0)
    if end > len(data):
        raise BadInput(f"the table ends before {rows} rows of {columns} columns do", hint="send it again, whole")
    return bytes(data[:end]), bytes(data[end:])


def _of_array(numpy: Any, data: Any, allow_missing: bool) -> Tuple[int, int, bytes]:
    values = numpy.asarray(data)
    if values.ndim != 2:
        hint = (
            "give rows of columns; one column is data.reshape(-1, 1)"
            if values.ndim == 1
            else "give two dimensions: rows of columns"
        )
        raise BadInput(f"the data have {values.ndim} dimensions", detail=f"their shape is {values.shape}", hint=hint)
    if 0 in values.shape:
        raise _empty(*values.shape)
    if values.dtype.kind not in "biuf":
        raise BadInput(f"the data are of type {values.dtype}", hint="give numbers: data.astype(float)")
    if numpy.ma.isMaskedArray(data):
        # What is masked is missing, whatever stands under the mask.
        values = data.astype("<f8").filled(numpy.nan)
    values = numpy.ascontiguousarray(values, dtype="<f8")
    if not allow_missing:
        finite = numpy.isfinite(values)
        if not finite.all():
            row, column = (int(place) for place in numpy.argwhere(~finite)[0])
            raise _missing(row, column, float(values[row, column]))
    return int(values.shape[0]), int(values.shape[1]), values.tobytes()


def _of_rows(data: Any, allow_missing: bool) -> Tuple[int, int, bytes]:
    if isinstance(data, (str, bytes)) or not hasattr(data, "__iter__"):
        raise BadInput(
            f"the data are of type {type(data).__name__}", hint="give a list of rows of numbers, or a numpy array"
        )
    values = array("d")
    rows = columns = 0
    for rows, row in enumerate(data, 1):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__iter__"):
            raise BadInput(
                f"row {rows - 1} is {row!r}", hint="give rows of numbers; one column is [[value], [value], …]"
            )
        numbers = list(row)
        if rows == 1:
            columns = len(numbers)
        if len(numbers) != columns:
            raise BadInput(
                f"row {rows - 1} has {len(numbers)} columns",
                detail=f"row 0 has {columns}",
                hint="give rows of equal length",
            )
        for column, number in enumerate(numbers):
            try:
                value = math.nan if number is None and allow_missing else float(number)
            except (TypeError, ValueError):
                raise BadInput(
                    f"row {rows - 1}, column {column} is {number!r}, not a number", hint="give numbers only"
                ) from None
            if not allow_missing and not math.isfinite(value):
                raise _missing(rows - 1, column, value)
            values.append(value)
    if not rows or not columns:
        raise _empty(rows, columns)
    if sys.byteorder == "big":
        values.byteswap()
    return rows, columns, values.tobytes()


def _empty(rows: int, columns: int) -> BadInput:
    return BadInput(
        "the data are empty",
        detail=f"they have {rows} rows and {columns} columns",
        hint="give at least one row of one column",
    )


def _missing(row: int, column: int, value: float) -> BadInput:
    return BadInput(
        f"row {row}, column {column} is {value}",
        hint="fill it or drop the row, or have it replaced by its column's mean: LeptonAI(missing='mean')",
    )


def labels_of(labels: Any, rows: int) -> bytes:
    """A byte a row; says which label is none."""
    if isinstance(labels, (str, bytes)) or not hasattr(labels, "__len__"):
        raise BadInput(f"the labels are of type {type(labels).__name__}", hint="give a list or an array of 0 and 1")
    if len(labels) != rows:
        raise BadInput(f"there are {len(labels)} labels for {rows} rows", hint="give one label a row")
    listed: Sequence[Any] = labels.tolist() if hasattr(labels, "tolist") else labels
    found = bytearray()
    for row, label in enumerate(listed):
        # A number of numpy's in a plain list.
        label = label.item() if hasattr(label, "item") else label
        if not isinstance(label, (int, float)) or label not in (0, 1):
            raise BadInput(
                f"the label of row {row} is {label!r}",
                hint="labels are 0 or 1; for other classes say which one is asked for: [int(label == 'fault') for label in labels]",
            )
        found.append(int(label))
    return bytes(found)
