"""What the tests share: a daemon that says what a test wants, and a look at which processes run."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Set, Tuple

PYTHON = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PYTHON))

#: Longer than anything here may take, on a machine that is busy with other things; seconds.
LONG = 60.0

#: Status, body, and perhaps headers; a body is bytes or what becomes JSON. ``None`` closes the connection without an answer.
Reply = Any


def wait_until(what: str, condition: Callable[[], bool], seconds: float = LONG) -> None:
    """Waits for a condition, and fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s: not {what}")
        time.sleep(0.02)


def done(text: str, **more: Any) -> Dict[str, Any]:
    """A task that ended well."""
    view = {
        "schema": "shoal/v1",
        "task": "T",
        "name": "n",
        "state": "done",
        "attempt": 1,
        "executor": None,
        "exit_code": 0,
    }
    return {**view, "output": {"text": text}, **more}


def problem(code: str, status: int, **more: Any) -> Tuple[int, Dict[str, Any]]:
    return status, {"code": code, "status": status, "title": f"title of {code}", "retryable": False, **more}


class FakeDaemon:
    """Answers on a Unix socket as ``say(method, path, body)`` returns; notes what was asked, and on how many
    connections."""

    def __init__(self, say: Callable[[str, str, bytes], Reply]) -> None:
        self.asked: List[Tuple[str, str, bytes]] = []
        self.connections = 0
        self._dir = tempfile.TemporaryDirectory()
        self.socket = f"{self._dir.name}/api.sock"
        daemon = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one write, as shoald sends them.
            wbufsize = -1

            def setup(self) -> None:
                daemon.connections += 1
                super().setup()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                daemon.asked.append((self.command, self.path, body))
                reply = say(self.command, self.path, body)
                if reply is None:
                    self.close_connection = True
                    return
                status, said, *headers = reply
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(self.socket, Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._dir.cleanup()


Process = Tuple[int, str]


def processes() -> Dict[int, Tuple[int, str]]:
    """The parent and the time of start of each process; a number may be used again, the two together are not."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                # The name in parentheses may hold anything.
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # A zombie has ended; whoever started it has not yet looked.
            if fields[0] not in "ZX":
                found[int(entry)] = (int(fields[1]), fields[19])
    return found


def tree(root: int) -> Set[Process]:
    """A process and all that descend from it."""
    known = processes()
    members = {root} & set(known)
    while True:
        more = {pid for pid, (parent, _) in known.items() if parent in members} - members
        if not more:
            return {(pid, known[pid][1]) for pid in members}
        members |= more


def alive(those: Set[Process]) -> Set[Process]:
    known = processes()
    return {(pid, start) for pid, start in those if pid in known and known[pid][1] == start}
