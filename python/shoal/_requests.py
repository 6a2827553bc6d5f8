"""From what a program writes to what the daemon is asked: the JSON of a task, and the blobs it names."""

from __future__ import annotations

import base64
import difflib
import io
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypedDict, Union

from . import _modules
from ._modules import Module, ModuleLike
from .errors import BadInput, TooLarge

#: `shoal_protocol::config::INLINE_BYTES_MAX`: inputs up to here ride in the request, larger ones are put as blobs.
INLINE_BYTES_MAX = 192 * 1024
#: `shoal_protocol::config::INPUT_BYTES_MAX`.
INPUT_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True)
class Blob:
    """A blob in the mesh, by its BLAKE3 hash: what ``put`` returns, and what may be given as an input.

    >>> blob = client.put(Path("speeds.csv"))
    >>> client.run("wordcount", input=blob)
    """

    #: ``b3:`` and 64 digits.
    id: str
    #: Its size, where it is known.
    bytes: Optional[int] = None

    def __str__(self) -> str:
        return self.id


#: Text, bytes, a path (its contents), an open binary file, or a blob.
InputLike = Union[str, bytes, bytearray, memoryview, "os.PathLike[str]", IO[bytes], Blob]
#: One input, several that are read one after the other, or none.
Inputs = Union[InputLike, Sequence[InputLike], None]
#: Another build: ``(module, loss)`` by name, or ``(name, module, loss)``.
Variants = Union[Mapping[str, Tuple[ModuleLike, float]], Iterable[Tuple[str, ModuleLike, float]]]
#: Labels the executor must have (``{"site": "a"}`` or ``"site=a"``), or the name of a peer.
On = Union[str, Mapping[str, str], Iterable[str], None]


class Options(TypedDict, total=False):
    """What may be said of a task; each member is a keyword of :meth:`shoal.Client.run`. Times are in seconds."""

    #: Arguments of the module, after the program name.
    args: Sequence[object]
    #: Labels the executor must have (``{"site": "a"}`` or ``"site=a"``), or the name of the one peer it may be.
    on: On
    #: Only at the peer that is asked.
    local_only: bool
    #: Not at a cloud peer; short for ``cloud="never"``.
    no_cloud: bool
    #: ``fallback``, ``allow`` or ``never``; what the peer's owner says where absent.
    cloud: str
    #: ``edge`` or ``cloud``.
    role: str
    #: Only at this peer: a name, an id, or a prefix.
    peer: str
    #: Only where the sandbox is whole.
    restricted: bool
    #: Time after which the answer is worth less.
    deadline: float
    #: Wall time of the run.
    timeout: float
    #: Linear memory: bytes, or text as in ``"64Mi"``.
    memory: Union[int, str]
    #: Standard output: the same.
    output_limit: Union[int, str]
    #: Its output stays as a blob where it was made, so that a task that reads it runs near it: ``result.blob``.
    keep_output: bool
    #: Where its input, and what it makes of it, may be: ``"eu"``, ``["eu", "site:street-9"]``.
    residency: Union[str, Sequence[str]]
    #: What kind of data its input is: ``"personal"``.
    data_class: Union[str, Sequence[str]]
    #: Other builds of the module with their declared losses, 0 to 1; the peers choose: ``{"int8": ("digit_small",
    #: 0.0125)}``.
    variants: Variants
    #: No build with a greater declared loss.
    loss_max: float
    #: The same, said the other way: 1 - loss.
    min_accuracy: float
    #: How its answer is made sure of: ``never``, ``auto``, ``sample:P``, ``quorum:K/N``.
    verify: str
    #: How long it is expected to run on a reference core.
    expect: float
    #: Attempts after the first where an executor is lost: 0 to 7.
    retries: int
    #: ``high``, ``normal`` or ``low``.
    priority: str
    #: Refused as overload where it would wait longer for a core.
    start_within: float
    #: λ of the objective for this task.
    weight: float
    #: The same key of the same submitter always names the same task.
    idempotency_key: str
    #: Whose key it is, 64 hexadecimal digits; where absent, this user's for what is submitted, the peer's own id for
    #: what is run.
    submitter: str
    #: For listings; the module's file name where absent.
    name: str


@dataclass
class Prepared:
    """A task ready to be asked for once the hashes of what it names are known."""

    document: Dict[str, Any]
    modules: List[Tuple[str, Module, float]]
    #: Bytes that do not ride in the request, and the place of each among the inputs.
    uploads: List[Tuple[int, bytes]] = field(default_factory=list)

    @property
    def has_bytes(self) -> bool:
        """Whether anything that it names could be sent."""
        return bool(self.uploads) or any(module.data or module.path for _, module, _ in self.modules)


def _names(names: Union[None, str, Sequence[str]]) -> Optional[List[str]]:
    """One name, or several."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def prepare(module: ModuleLike, input: Inputs, options: Options) -> Prepared:
    """States the task, or says what is wrong with it."""
    for name in options:
        if name not in Options.__annotations__:
            near = difflib.get_close_matches(name, Options.__annotations__, n=1)
            raise BadInput(
                f"a task has no option `{name}`",
                hint=f"did you mean `{near[0]}`?" if near else f"the options are {', '.join(Options.__annotations__)}",
            )
    main = _modules.find(module)
    builds = list(_builds(options.get("variants")))
    modules = [("full" if builds else "", main, 0.0), *builds]
    labels, peer = _on(options.get("on"), options.get("peer"))
    inputs, uploads = _inputs(input)
    args = options.get("args") or ()
    if isinstance(args, (str, bytes)):
        raise BadInput(f"args is {args!r}", hint=f"give a list: args=[{args!r}]")
    document: Dict[str, Any] = {
        "args": [str(arg) for arg in args],
        "inputs": inputs,
        "labels": labels,
        "local_only": bool(options.get("local_only")),
        "name": options.get("name", main.name),
    }
    expect = options.get("expect")
    optional = {
        "peer": peer,
        "cloud": "never" if options.get("no_cloud") else options.get("cloud"),
        "role": options.get("role"),
        "restricted": options.get("restricted") or None,
        "deadline_ms": millis("deadline", options.get("deadline")),
        "wall_ms": millis("timeout", options.get("timeout")),
        "memory_bytes": size("memory", options.get("memory")),
        "output_bytes": size("output_limit", options.get("output_limit")),
        "keep_output": options.get("keep_output") or None,
        "residency": _names(options.get("residency")),
        "class": _names(options.get("data_class")),
        "loss_max": _loss_max(options),
        "verify": options.get("verify"),
        "expected_ms": None if expect is None else expect * 1_000,
        "retries": options.get("retries"),
        "priority": options.get("priority"),
        "start_within_ms": millis("start_within", options.get("start_within")),
        "lambda": options.get("weight"),
        "idempotency_key": options.get("idempotency_key"),
        "submitter": options.get("submitter"),
    }
    document.update((key, value) for key, value in optional.items() if value is not None)
    return Prepared(document, modules, uploads)


def prepare_inputs(given: List[InputLike]) -> Prepared:
    """Inputs by themselves, those of a pipeline."""
    inputs, uploads = _inputs(given)
    return Prepared({"inputs": inputs}, [], uploads)


def _builds(variants: Optional[Variants]) -> Iterable[Tuple[str, Module, float]]:
    if variants is None:
        return
    listed: Iterable[Any] = (
        ((name, *build) for name, build in variants.items()) if isinstance(variants, Mapping) else variants
    )
    for variant in listed:
        try:
            name, module, loss = variant
            loss = float(loss)
        except (TypeError, ValueError):
            raise BadInput(
                f"a variant is {variant!r}", hint='give (name, module, loss), as in ("int8", "digit_small", 0.0125)'
            ) from None
        if not 0.0 <= loss <= 1.0:
            raise BadInput(f"the loss of variant `{name}` is {loss}", hint="give it from 0 (perfect) to 1")
        yield name, _modules.find(module), loss


def _on(on: On, peer: Optional[str]) -> Tuple[Dict[str, str], Optional[str]]:
    if on is None:
        return {}, peer
    if isinstance(on, Mapping):
        return {str(key): str(value) for key, value in on.items()}, peer
    labels: Dict[str, str] = {}
    for text in [on] if isinstance(on, str) else on:
        key, equals, value = text.partition("=")
        if equals:
            labels[key] = value
        elif peer is None:
            peer = text
        else:
            raise BadInput(f"`{text}` is a second peer beside `{peer}`", hint="name one peer; labels are key=value")
    return labels, peer


def _inputs(given: Inputs) -> Tuple[List[Dict[str, str]], List[Tuple[int, bytes]]]:
    several = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    inputs: List[Dict[str, str]] = []
    uploads: List[Tuple[int, bytes]] = []
    inline_bytes = total_bytes = 0
    for place, one in enumerate(several):
        if isinstance(one, Blob):
            inputs.append({"blob": one.id})
            continue
        data = data_of(one, f"input {place}" if len(several) > 1 else "input")
        total_bytes += len(data)
        if total_bytes > INPUT_BYTES_MAX:
            raise TooLarge(
                f"the input is too large at number {place}",
                code="SH0414",
                detail=f"a task reads at most {INPUT_BYTES_MAX} bytes",
                hint="split the work into several tasks",
            )
        if inline_bytes + len(data) > INLINE_BYTES_MAX:
            uploads.append((len(inputs), data))
            inputs.append({})
            continue
        inline_bytes += len(data)
        inputs.append(inline(data))
    return inputs, uploads


def inline(data: bytes) -> Dict[str, str]:
    """Bytes as they ride in a request: text where they are text."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def data_of(source: Any, what: str) -> bytes:
    """The bytes that something given as an input stands for."""
    if isinstance(source, str):
        return source.encode("utf-8")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, os.PathLike):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise BadInput(
                f"{what} cannot be read: {os.fspath(source)}",
                code="SH0110",
                detail=error.strerror or "",
                hint="name a file",
            ) from error
    if hasattr(source, "read"):
        data = source.read()
        if isinstance(data, bytes):
            return data
        raise BadInput(f"{what} is a file of text", hint="open it with mode 'rb'")
    raise BadInput(
        f"{what} is a {type(source).__name__}",
        hint="give text, bytes, a pathlib.Path, a file opened with 'rb', a Blob, or a list of them",
    )


#: Lines of a feed in one request, and bytes, unless a line is larger.
LINES_MAX = 4_096
LINES_BYTES_MAX = 512 * 1024


def batches(lines: Any, start: int) -> Iterator[Tuple[int, bytes]]:
    """What one request after the other hands in: the number of its first line, and the lines. At least one."""
    if lines is None or isinstance(lines, (str, bytes, bytearray)):
        raise BadInput("the lines are one text", hint="give a list of lines, or an open file")
    body, first, count = bytearray(), start, 0
    for line in lines:
        if count >= LINES_MAX or len(body) >= LINES_BYTES_MAX:
            yield first, bytes(body)
            body, first, count = bytearray(), first + count, 0
        body += _line(line)
        count += 1
    if count or first == start:
        yield first, bytes(body)


def _line(line: Any) -> bytes:
    if isinstance(line, str):
        line = line.encode("utf-8")
    if not isinstance(line, (bytes, bytearray)):
        raise BadInput(f"a line is a {type(line).__name__}", hint="give text or bytes: str(number)")
    text = bytes(line[:-1] if line.endswith(b"\n") else line)
    if b"\n" in text:
        raise BadInput("a line has an end in its middle", hint="give each by itself: text.splitlines()")
    return text + b"\n"


def stream_of(source: Any, length: Optional[int]) -> Tuple[Union[bytes, IO[bytes]], Optional[int]]:
    """What ``put`` sends: bytes, or a file with its length, which is not read into memory."""
    if length is not None and (length < 0 or not hasattr(source, "read")):
        raise BadInput(f"a length of {length}", hint="say how many bytes of an open stream are to be taken, from 0")
    if isinstance(source, os.PathLike):
        try:
            file = open(source, "rb")
        except OSError as error:
            raise BadInput(
                f"{os.fspath(source)} cannot be read", code="SH0110", detail=error.strerror or "", hint="name a file"
            ) from error
        about = os.fstat(file.fileno())
        if stat.S_ISREG(about.st_mode) and about.st_size:
            return file, about.st_size
        # A pipe, or a file of the system's: how much there is, is known at its end.
        with file:
            return file.read(), None
    if hasattr(source, "read"):
        if isinstance(source.read(0), str):
            raise BadInput("the stream is a file of text", hint="open it with mode 'rb'")
        if length is None:
            try:
                here = source.tell()
                length = source.seek(0, io.SEEK_END) - here
                source.seek(here)
            except (OSError, AttributeError, ValueError):
                # A pipe: its length is known at its end.
                return data_of(source, "the stream"), None
        return source, length
    return data_of(source, "the blob"), None


_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}


def size(what: str, given: Union[int, str, None]) -> Optional[int]:
    """Bytes from a number, or from text as in ``64Mi``."""
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    match = re.fullmatch(r"(\d+)\s*([KMG]i|[kMG]|)B?", str(given))
    if match is None or int(match[1]) == 0:
        raise BadInput(f"{what} is {given!r}", hint='give bytes, or text with a unit: "64Mi"')
    return int(match[1]) * _UNITS[match[2]]


def millis(what: str, seconds: Optional[float]) -> Optional[int]:
    if seconds is None:
        return None
    if not (isinstance(seconds, (int, float)) and 0 < seconds < float("inf")):
        raise BadInput(f"{what} is {seconds!r}", hint="give seconds above 0")
    # At least one, so that a tiny limit does not become none.
    return max(1, int(seconds * 1_000))


def _loss_max(options: Options) -> Optional[float]:
    loss_max, min_accuracy = options.get("loss_max"), options.get("min_accuracy")
    for what, given in (("loss_max", loss_max), ("min_accuracy", min_accuracy)):
        if given is not None and not 0.0 <= given <= 1.0:
            raise BadInput(f"{what} is {given!r}", hint="give it from 0 to 1")
    if min_accuracy is None:
        return loss_max
    # What subtracting rounds away must not exclude a build of exactly this accuracy.
    by_accuracy = round(1.0 - min_accuracy, 12)
    return by_accuracy if loss_max is None else min(by_accuracy, loss_max)
