"""A mesh to work with: started on this machine and ended with this program, or joined where it runs.

`shoal-testnet up` starts the peers and ends them in order when it is told to. It is started by a thread that lives as
long as the mesh, and the kernel tells it to end when that thread does (``PR_SET_PDEATHSIG``): so also when Python is
killed with signal 9.

**Invariant:** a mesh started here does not outlive this process, however that ends.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, List, Optional, Union

from .client import Client
from .errors import BadInput, MeshNotStarted
from .programs import program
from .results import View

#: A mesh forms within a few seconds; a machine that is busy compiling takes longer.
START_TIMEOUT = 90.0
#: The peers hand back their work before they end.
END_TIMEOUT = 15.0
#: `linux/prctl.h`
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class MeshPeer:
    """One peer of a mesh."""

    name: str
    #: ``cloud`` or ``edge``.
    role: str
    #: Its id.
    peer: str
    #: The address of its API, where it can be asked directly.
    api: Optional[str] = None
    log: Optional[Path] = None


class Mesh:
    """A mesh; cloud peers come first in ``peers``, then edge peers. A context manager.

    >>> with Mesh.start(cloud=1, edge=2) as mesh:
    ...     mesh.client("edge-1").run("wordcount", input="hello").executor
    'edge-1'
    """

    def __init__(
        self, peers: Iterable[MeshPeer], keeper: Optional["_Keeper"] = None, view: Optional[View] = None
    ) -> None:
        listed = list(peers)
        #: Cloud peers first; otherwise in the order they were found.
        self.peers: List[MeshPeer] = [p for p in listed if p.role == "cloud"] + [p for p in listed if p.role != "cloud"]
        #: What `shoal-testnet` said of it, where it was started here.
        self.view = view
        self._keeper = keeper
        self._clients: Dict[str, Client] = {}

    @classmethod
    def start(
        cls,
        cloud: int = 3,
        edge: int = 2,
        *,
        loopback: bool = False,
        dir: Union[str, "os.PathLike[str]", None] = None,
        timeout: float = START_TIMEOUT,
    ) -> "Mesh":
        """Starts peers on this machine, behind emulated links where it allows that, or on plain loopback."""
        for what, number in (("cloud", cloud), ("edge", edge)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise BadInput(f"the number of {what} peers is {number!r}", hint="give a whole number, 0 or more")
        if cloud + edge == 0:
            raise BadInput("a mesh of no peers", hint="give at least one cloud or edge peer")
        command = [str(program("shoal-testnet")), "up", "--json", "--cloud", str(cloud), "--edge", str(edge)]
        command += ["--loopback"] if loopback else []
        command += ["--dir", os.fspath(dir)] if dir is not None else []
        keeper = _Keeper(command, {**os.environ, "SHOALD_BIN": str(program("shoald"))})
        try:
            view = keeper.report(timeout)
        except BaseException:
            keeper.end()
            raise
        return cls((_started(peer) for peer in view.peers), keeper, view)

    @classmethod
    def join(cls, where: Any) -> "Mesh":
        """The mesh that runs already: the directory of `shoal-testnet up`, one socket of it, or the sockets of several
        peers.

        With one socket the other peers are known by name only: tasks can be sent there, their stores cannot be looked
        into.
        """
        if isinstance(where, Mesh):
            return where
        if isinstance(where, (str, os.PathLike)):
            text = os.fspath(where)
            path = Path(text)
            if path.is_dir():
                return cls(_started(peer) for peer in _description(path / "testnet.json").peers)
            status = Client(text).status()
            return cls([_seen(status.me, text), *(_seen(peer, None) for peer in sorted(status.peers, key=_by_name))])
        sockets = [os.fspath(one) for one in where]
        if not sockets:
            raise BadInput(
                "the mesh has no sockets", hint="give the sockets of its peers, or the directory of `shoal-testnet up`"
            )
        return cls(_seen(Client(one).status().me, one) for one in sockets)

    def client(self, peer: Union[str, int]) -> Client:
        """The client of a peer, by its name or its number."""
        if isinstance(peer, int):
            found = self.peers[peer] if -len(self.peers) <= peer < len(self.peers) else None
        else:
            found = next((p for p in self.peers if p.name == peer), None)
        if found is None or found.api is None:
            raise BadInput(f"peer {peer} cannot be asked directly", hint="give its socket when joining the mesh")
        return self._clients.setdefault(found.name, Client(found.api))

    @property
    def pid(self) -> Optional[int]:
        """The process that keeps the mesh, where it was started here and runs."""
        return self._keeper.pid if self._keeper is not None else None

    def close(self) -> None:
        """Ends the mesh if it was started here; leaves it running if it was joined."""
        for client in self._clients.values():
            client.close()
        if self._keeper is not None:
            self._keeper.end()

    def __enter__(self) -> "Mesh":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Keeper:
    """`shoal-testnet up`, and the thread that it may not outlive."""

    def __init__(self, command: List[str], environment: Dict[str, str]) -> None:
        self._owner = os.getpid()
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._error: Optional[BaseException] = None
        self._is_started = threading.Event()
        self._is_over = threading.Event()
        threading.Thread(target=self._keep, args=(command, environment), name="shoal mesh", daemon=True).start()
        self._is_started.wait()
        if self._error is not None:
            raise MeshNotStarted(
                f"{command[0]} cannot be run", detail=str(self._error), hint="see SHOAL_BIN"
            ) from self._error
        atexit.register(self.end)

    def _keep(self, command: List[str], environment: Dict[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=environment,
                # Ctrl-C is for this program, which then ends its mesh in order.
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,
            )
        except BaseException as error:
            self._error = error
            return
        finally:
            self._is_started.set()
        # The kernel looks at the thread that started the process, not at the program.
        self._is_over.wait()

    @property
    def pid(self) -> Optional[int]:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def report(self, timeout: float) -> View:
        """What the tool says of its mesh once that is up."""
        assert self._process is not None and self._process.stdout is not None
        deadline = time.monotonic() + timeout
        said = b""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._failed(f"the mesh did not come up within {timeout} s")
            if not select.select([self._process.stdout], [], [], left)[0]:
                continue
            piece = os.read(self._process.stdout.fileno(), 65_536)
            said += piece
            try:
                view = json.loads(said, object_hook=View)
                return view
            except ValueError:
                if not piece:
                    raise self._failed("the mesh did not come up") from None

    def _failed(self, title: str) -> MeshNotStarted:
        self._said.seek(0)
        detail = self._said.read()[-2_000:].decode("utf-8", "replace").strip()
        return MeshNotStarted(title, detail=detail, hint="try it by hand: shoal-testnet up --cloud 1 --edge 1")

    def end(self) -> None:
        """Ends the mesh and waits for that; does nothing the second time, and nothing in a forked child."""
        atexit.unregister(self.end)
        process = self._process
        if self._owner != os.getpid() or process is None or self._is_over.is_set():
            return
        try:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(END_TIMEOUT)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            # Also where a second Ctrl-C cuts the wait short; the kernel ends what the tool has started.
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            self._said.close()
            self._is_over.set()


def _die_with(parent: int) -> Callable[[], None]:
    # Looked up here: between fork and exec nothing may be imported or loaded.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    getppid, end, terminate = os.getppid, os._exit, int(signal.SIGTERM)

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, terminate, 0, 0, 0)
        # The parent may have died before the line above took effect.
        if getppid() != parent:
            end(1)

    return arm


def _started(view: View) -> MeshPeer:
    return MeshPeer(view.name, view.role, view.peer, view.api, Path(view.log))


def _seen(view: View, api: Optional[str]) -> MeshPeer:
    return MeshPeer(view.name, view.role, view.peer, api)


def _by_name(view: View) -> Any:
    """cloud-2 before cloud-10."""
    digits = "".join(c for c in view.name if c.isdigit())
    return (view.name.rstrip("0123456789"), int(digits[:18] or 0), view.name)


def _description(path: Path) -> View:
    try:
        return json.loads(path.read_bytes(), object_hook=View)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} does not describe a mesh",
            detail=str(error),
            hint="give the directory of a running `shoal-testnet up --dir DIR`",
        ) from error
