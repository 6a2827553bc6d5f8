"""Who submits: a secret of this user, by which its tasks are found again from any peer; the same as that of `shoal
submit`.

**Invariant:** the file is this user's alone (0600), is whole when it has its name, and is never written again.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path
from typing import List

from .errors import BadInput

#: `cli/src/user.rs`
CONTEXT = b"shoal submitter v1"
FILE_NAME = "user.key"


def submitter() -> str:
    """What names this user's tasks, 64 hexadecimal digits; its secret is made when there is none yet."""
    base = os.environ.get("XDG_DATA_HOME", "")
    data = Path(base) if base.startswith("/") else Path(os.path.expanduser("~/.local/share"))
    path = data / "shoal" / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            raise BadInput(
                f"{path} can be read by others",
                detail="whoever has it can fetch and cancel this user's tasks",
                hint=f"chmod 600 {path}",
            )
        secret = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise BadInput(
            f"{path} cannot be used: {error.strerror}", hint="give submitter=…, or set XDG_DATA_HOME"
        ) from error
    except ValueError as error:
        secret = b""
        if isinstance(error, BadInput):
            raise
    if len(secret) != 32:
        raise BadInput(
            f"{path} is not a user's key",
            hint="restore it from a backup, or remove it: tasks submitted with it are then found by their id only",
        )
    return derive_key(CONTEXT, secret).hex()


def _create(path: Path) -> None:
    """Two programs may do this at once: one of their files gets the name, and both read that one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(new)


# BLAKE3 of one block: all that deriving a key from 32 bytes takes, which the standard library does not have. The
# numbers are those of the specification (https://github.com/BLAKE3-team/BLAKE3-specs, sections 2.2 to 2.4).
_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_ONE_BLOCK = 1 | 2 | 8  # CHUNK_START, CHUNK_END, ROOT
_DERIVE_KEY_CONTEXT, _DERIVE_KEY_MATERIAL = 32, 64
_COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def derive_key(context: bytes, material: bytes) -> bytes:
    """32 bytes from a context and key material of up to 64 bytes each."""
    key = struct.unpack("<8I", _block(context, _IV, _DERIVE_KEY_CONTEXT))
    return _block(material, key, _DERIVE_KEY_MATERIAL)


def _block(data: bytes, key: "tuple[int, ...]", mode: int) -> bytes:
    assert len(data) <= 64, "more than a block"
    words: List[int] = list(struct.unpack("<16I", data.ljust(64, b"\0")))
    state = [*key, *_IV[:4], 0, 0, len(data), _ONE_BLOCK | mode]
    for _ in range(7):
        for place, (a, b, c, d) in enumerate(_COLUMNS_AND_DIAGONALS):
            for word, turns in ((words[2 * place], (16, 12)), (words[2 * place + 1], (8, 7))):
                state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
                state[d] = _turned(state[d] ^ state[a], turns[0])
                state[c] = (state[c] + state[d]) & 0xFFFFFFFF
                state[b] = _turned(state[b] ^ state[c], turns[1])
        words = [words[place] for place in _PERMUTATION]
    return struct.pack("<8I", *(state[place] ^ state[place + 8] for place in range(8)))


def _turned(word: int, bits: int) -> int:
    return (word >> bits | word << (32 - bits)) & 0xFFFFFFFF
