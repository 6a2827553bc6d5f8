"""Finding a module: by path, by name, by its bytes, or by its hash; as `shoal run` does."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Union

from .errors import BadInput, NoSuchModule

#: A path, a name (``wordcount``), ``b3:HASH``, or the bytes of a module.
ModuleLike = Union[str, "os.PathLike[str]", bytes]

#: `shoal_protocol::config::MODULE_BYTES_MAX`.
MODULE_BYTES_MAX = 16 * 1024 * 1024
MAGIC = b"\0asm"
#: The examples that come with this package; in a checkout, a link to them.
BUNDLED = Path(__file__).parent / "modules"


@dataclass(frozen=True)
class Module:
    """A module that a task names."""

    #: For listings: ``wordcount.wasm``.
    name: str
    #: What tells it from other modules on this side; the daemon names it by its BLAKE3 hash.
    key: object
    #: That hash, where it is known.
    id: Optional[str]
    #: Its bytes, where they are in hand.
    data: Optional[bytes] = None
    #: Where they are, where they are in a file.
    path: Optional[Path] = None

    def read(self) -> bytes:
        """Its bytes, if they are those of a module."""
        data = self.data
        if data is None and self.path is not None:
            try:
                data = self.path.read_bytes()
            except OSError as error:
                raise NoSuchModule(
                    f"`{self.path}` cannot be read", detail=error.strerror or "", hint="name a file"
                ) from error
        if data is None:
            raise NoSuchModule(f"the daemon does not have the module {self.id}", hint="give its file or its bytes")
        if not data.startswith(MAGIC):
            raise NoSuchModule(
                f"`{self.name}` is not a WebAssembly module",
                detail="a module begins with the bytes 00 61 73 6d; this does not",
                hint="build it with: cargo build --release --target wasm32-wasip1",
            )
        if len(data) > MODULE_BYTES_MAX:
            raise NoSuchModule(
                f"`{self.name}` is too large",
                detail=f"it has {len(data)} bytes, a module at most {MODULE_BYTES_MAX}",
                hint='build it with opt-level = "s" and strip it',
            )
        return data


def find(module: ModuleLike) -> Module:
    """``b3:HASH`` is itself, something with a ``/`` or ``.wasm`` is a path, any other text a name."""
    if isinstance(module, (bytes, bytearray, memoryview)):
        data = bytes(module)
        return Module(name="module", key=hashlib.sha256(data).digest(), id=None, data=data)
    try:
        text = os.fspath(module)
    except TypeError:
        raise BadInput(
            f"a module is given as {type(module).__name__}",
            hint="give a path, a name, `b3:HASH`, or the module's bytes",
        ) from None
    if text.startswith("b3:"):
        return Module(name=text[:11], key=text, id=text)
    if not isinstance(module, str) or "/" in text or text.endswith(".wasm"):
        return _of_file(Path(text))
    for directory in places():
        path = directory / f"{text}.wasm"
        if path.is_file():
            return _of_file(path)
    known = sorted({name for directory in places() for name in names_in(directory)})
    near = difflib.get_close_matches(text, known, n=2)
    raise NoSuchModule(
        f"there is no module named `{text}`",
        detail=f"{text}.wasm was looked for in {', '.join(map(str, places()))}",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else "name a file (./module.wasm), or add its directory to SHOAL_MODULES",
    )


def _of_file(path: Path) -> Module:
    try:
        stat = path.stat()
    except OSError as error:
        raise NoSuchModule(
            f"`{path}` cannot be read", detail=error.strerror or "", hint="name a file that is there"
        ) from error
    # A file that is written again is another module.
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    is_bundled = path.parent == BUNDLED
    return Module(name=path.name, key=key, id=_sums().get(path.name) if is_bundled else None, path=path)


def places() -> List[Path]:
    """Directories searched for names, first match wins."""
    given = [Path(entry) for entry in os.environ.get("SHOAL_MODULES", "").split(os.pathsep) if entry]
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return [Path("."), *given, BUNDLED, Path(data) / "shoal" / "modules"]


def names_in(directory: Path) -> Iterator[str]:
    """The modules of a directory, without `.wasm`."""
    try:
        yield from (path.stem for path in sorted(directory.glob("*.wasm")))
    except OSError:
        return


def bundled() -> List[str]:
    """The names of the example modules that come with this package."""
    return list(names_in(BUNDLED))


_SUMS: Dict[str, str] = {}


def _sums() -> Dict[str, str]:
    """The hashes of the bundled modules, so that they need not be sent to learn them."""
    if not _SUMS:
        try:
            lines = (BUNDLED / "BLAKE3SUMS").read_text().splitlines()
        except OSError:
            return {}
        for line in lines:
            digest, name = line.split()
            _SUMS[name] = f"b3:{digest}"
    return _SUMS
