"""HTTP/1.1 without sockets: bytes of a request out of it, an answer from whatever pieces its bytes arrive in.

Shared by the blocking and the asynchronous client. Only what `shoald` sends is understood: a status line, headers, and
a body with a length or in chunks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Dict, List, Mapping, Optional

from .errors import WrongVersion

#: A head longer than this is not one of ours.
HEAD_BYTES_MAX = 64 * 1024


def head(
    method: str, path: str, length: Optional[int], content_type: str, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """The head of a request; no length for one without a body."""
    lines = [f"{method} {path} HTTP/1.1\r\nhost: shoald\r\n"]
    lines.extend(f"{name}: {value}\r\n" for name, value in headers.items())
    if length is not None:
        lines.append(f"content-type: {content_type}\r\ncontent-length: {length}\r\n")
    elif method == "POST":
        lines.append("content-length: 0\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("ascii")


class AnswerReader:
    """Reads one answer. Feed it bytes until it is ``complete``; ``take`` what has come of the body."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Dict[str, str] = {}
        self.complete = False
        self._unread = bytearray()
        self._body: List[bytes] = []
        #: Bytes that are still to come of the body, or of the chunk at hand.
        self._left = 0
        self._is_chunked = False
        self._ends_with_connection = False

    def feed(self, data: bytes) -> None:
        """Takes what has arrived; nothing (``b""``) is the end of the connection."""
        if not data:
            if self.status and self._ends_with_connection:
                self.complete = True
                return
            raise EOFError("it ended in the middle of an answer" if self.has_begun else "it was closed")
        if self.status and not self._is_chunked and not self._unread:
            self._plain(data)
            return
        self._unread += data
        if not self.status and not self._head():
            return
        if self._is_chunked:
            self._chunks()
        else:
            rest, self._unread = bytes(self._unread), bytearray()
            self._plain(rest)

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer has arrived."""
        return bool(self.status or self._unread)

    @property
    def may_be_kept(self) -> bool:
        """Whether another request may follow on the connection."""
        return self.complete and not self._ends_with_connection and self.headers.get("connection") != "close"

    def take(self) -> bytes:
        """What has come of the body since this was last asked."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        return body

    def _head(self) -> bool:
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            if len(self._unread) > HEAD_BYTES_MAX:
                raise not_ours("its head is too long")
            return False
        lines = self._unread[:end].decode("latin-1").split("\r\n")
        del self._unread[: end + 4]
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or parts[0] != "HTTP/1.1" or not (parts[1].isdigit() and len(parts[1]) == 3):
            raise not_ours(f"it begins with {lines[0][:80]!r}")
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.status = int(parts[1])
        length = self.headers.get("content-length")
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._is_chunked = True
        elif length is not None:
            if not length.isdigit():
                raise not_ours(f"its length is {length!r}")
            self._left = int(length)
            self.complete = self._left == 0
        elif self.status in (204, 304):
            self.complete = True
        else:
            self._ends_with_connection = True
        return True

    def _plain(self, data: bytes) -> None:
        if not data:
            return
        if not self._ends_with_connection:
            if len(data) > self._left:
                raise not_ours("more follows than it announced")
            self._left -= len(data)
            self.complete = self._left == 0
        self._body.append(data)

    def _chunks(self) -> None:
        """``self._left`` counts the chunk at hand with the line end behind it."""
        unread = self._unread
        while unread:
            if self._left:
                piece = bytes(unread[: self._left])
                del unread[: len(piece)]
                # The last two bytes are the line's end.
                text = max(0, min(len(piece), self._left - 2))
                self._left -= len(piece)
                if text:
                    self._body.append(piece[:text])
                continue
            end = unread.find(b"\r\n")
            if end < 0:
                if len(unread) > HEAD_BYTES_MAX:
                    raise not_ours("a chunk has no length")
                return
            try:
                size = int(unread[:end].split(b";")[0], 16)
            except ValueError:
                raise not_ours("a chunk has no length") from None
            if size == 0:
                # No trailers are ever sent, so a second line end is all that follows.
                if len(unread) >= end + 4:
                    unread.clear()
                    self.complete = True
                return
            del unread[: end + 2]
            self._left = size + 2


def not_ours(why: str) -> WrongVersion:
    """What answers is no `shoald`, or not one of this version."""
    return WrongVersion(
        "the answer cannot be understood",
        detail=why,
        hint="use this package and `shoald` of the same version: `shoald --version`, shoal.__version__",
    )
