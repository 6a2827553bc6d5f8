"""Answers are read the same however their bytes arrive."""

import unittest

import support  # noqa: F401  (finds the package)
from shoal._http import AnswerReader, head
from shoal.errors import WrongVersion

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5;x=1\r\nworld\r\n0\r\n\r\n"


def read(data: bytes, piece: int) -> AnswerReader:
    reader = AnswerReader()
    for start in range(0, len(data), piece):
        assert not reader.complete
        reader.feed(data[start : start + piece])
    return reader


class Reading(unittest.TestCase):
    def test_a_body_is_whole_whatever_the_pieces(self) -> None:
        for data, status in ((PLAIN, 200), (CHUNKED, 201)):
            for piece in (1, 2, 3, 7, 40, len(data)):
                with self.subTest(status=status, piece=piece):
                    reader = read(data, piece)

                    self.assertTrue(reader.complete and reader.may_be_kept)
                    self.assertEqual((reader.status, reader.take()), (status, b"hello world"))

    def test_an_answer_without_a_length_ends_with_the_connection(self) -> None:
        reader = read(b"HTTP/1.1 200 OK\r\n\r\nall there is", 5)
        self.assertFalse(reader.complete)

        reader.feed(b"")

        self.assertTrue(reader.complete)
        self.assertFalse(reader.may_be_kept)
        self.assertEqual(reader.take(), b"all there is")

    def test_an_empty_body_is_complete_at_once(self) -> None:
        self.assertTrue(read(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 9).complete)

    def test_a_cut_answer_is_an_error(self) -> None:
        for data in (PLAIN[:-1], CHUNKED[:-3], b"HTTP/1.1 2"):
            with self.subTest(data=data), self.assertRaises(EOFError):
                read(data, 8).feed(b"")

    def test_what_is_no_http_is_another_version(self) -> None:
        for data in (
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            PLAIN + b"more",
        ):
            with self.subTest(data=data), self.assertRaises(WrongVersion):
                read(data, len(data))

    def test_a_post_always_says_how_long_it_is(self) -> None:
        self.assertIn(b"content-length: 0\r\n", head("POST", "/v1/shutdown", None, ""))
        self.assertNotIn(b"content-length", head("GET", "/v1/status", None, ""))


if __name__ == "__main__":
    unittest.main()
