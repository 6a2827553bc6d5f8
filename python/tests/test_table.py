"""Tables: what is read is what was written, and what is wrong is named."""

import math
import struct
import unittest

import support  # noqa: F401  (finds the package)
from shoal.errors import BadInput
from shoal.table import HEAD, Table, tables

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


class Tables(unittest.TestCase):
    def test_rows_and_labels_are_read_back(self) -> None:
        table = Table.of([[1, 2.5], (3, -4), [True, 0]], labels=[0, 1, 1.0])

        self.assertEqual(table.tolist(), [[1.0, 2.5], [3.0, -4.0], [1.0, 0.0]])
        self.assertEqual(
            (table.shape, table.labels, table.encoding, table.nbytes), ((3, 2), [0, 1, 1], "f64", 16 + 48 + 3)
        )
        self.assertEqual(table[-1], [1.0, 0.0])
        self.assertEqual(Table(table.frame), table)
        self.assertIsNone(table.without_labels().labels)
        self.assertEqual(table.without_labels().with_labels([1, 1, 0]).labels, [1, 1, 0])

    def test_every_encoding_is_read(self) -> None:
        f32 = HEAD.pack(b"SHM1", 1, 0, 0, 2, 2) + struct.pack("<4f", 1, 2, 3, 0.5)
        i16 = HEAD.pack(b"SHM1", 2, 1, 0, 2, 2) + struct.pack("<4d4h", 10, 0.5, 0, 2, -2, 1, 4, -1) + b"\1\0"

        first, second = tables(f32 + i16)

        self.assertEqual((first.tolist(), first.labels), ([[1, 2], [3, 0.5]], None))
        self.assertEqual((second.tolist(), second.labels), ([[9, 2], [12, -2]], [1, 0]))

    def test_what_is_wrong_is_named_by_its_place_with_a_fix(self) -> None:
        for data, words in (
            ([], "empty"),
            ([[]], "0 columns"),
            ([[1, 2], [3]], "row 1 has 1 columns"),
            ([[1, math.nan]], "row 0, column 1 is nan"),
            ([[1], [math.inf]], "row 1, column 0 is inf"),
            ([[1], ["x"]], "row 1, column 0 is 'x'"),
            ([[1], [None]], "row 1, column 0 is None"),
            ([1, 2], "row 0 is 1"),
            ("text", "type str"),
            (5, "type int"),
        ):
            with self.subTest(data=data), self.assertRaises(BadInput) as caught:
                Table.of(data)
            self.assertIn(words, str(caught.exception))
            self.assertTrue(caught.exception.hint)
        for labels, words in (
            ([0], "1 labels for 2 rows"),
            ([0, 2], "label of row 1 is 2"),
            (["a", "b"], "label of row 0 is 'a'"),
            ([0, 0.5], "label of row 1 is 0.5"),
            ([0, None], "label of row 1 is None"),
            (3, "type int"),
        ):
            with self.subTest(labels=labels), self.assertRaises(BadInput) as caught:
                Table.of([[1], [2]], labels)
            self.assertIn(words, str(caught.exception))
            self.assertTrue(caught.exception.hint)
        missing = Table.of([[1], [math.nan], [None]], allow_missing=True)
        self.assertEqual([math.isnan(row[0]) for row in missing], [False, True, True])

    def test_bytes_that_are_no_table_are_refused(self) -> None:
        whole = Table.of([[1, 2]], [1]).frame
        for data in (b"", b"SHM1", whole[:-1], whole + b"x", b"x" + whole[1:], whole[:4] + b"\7" + whole[5:]):
            with self.subTest(data=data), self.assertRaises(BadInput):
                Table(data)

    @unittest.skipIf(numpy is None, "numpy is not installed")
    def test_arrays_are_taken_and_given(self) -> None:
        array = numpy.arange(6, dtype=numpy.int32).reshape(3, 2)

        table = Table.of(array[:, ::-1], labels=numpy.array([0, 1, 1]))

        self.assertEqual(table, Table.of([[1, 0], [3, 2], [5, 4]], [0, 1, 1]))
        self.assertTrue((numpy.asarray(table) == array[:, ::-1]).all())
        holed = numpy.ones((4, 3))
        holed[2, 1] = numpy.nan
        for data, words in (
            (holed, "row 2, column 1 is nan"),
            (numpy.ones(3), "1 dimensions"),
            (numpy.ones((2, 2, 2)), "3 dimensions"),
            (numpy.ones((0, 3)), "empty"),
            (numpy.array([["a"]]), "type <U1"),
        ):
            with self.subTest(words=words), self.assertRaises(BadInput) as caught:
                Table.of(data)
            self.assertIn(words, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
