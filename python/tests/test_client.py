"""The clients against a daemon that says what a test wants: what they send, and what they make of the answers."""

import asyncio
import copy
import io
import json
import os
import pickle
import tempfile
import threading
import time
import unittest
import warnings
from pathlib import Path
from typing import Any, List
from unittest import mock

from support import FakeDaemon, done, problem
import shoal
from shoal import _user, errors
from shoal._methods import default_socket, socket_of
from shoal._patience import WAIT_MAX, spread
from shoal._requests import batches, stream_of

MODULE = b"\0asm\1\0\0\0"
STATUS = {"schema": "shoal/v1", "me": {"name": "edge-1"}}


def say_done(method: str, path: str, body: bytes) -> Any:
    """Runs every task at once: it answers what it was given."""
    if path == "/v1/blobs":
        return 201, {"schema": "shoal/v1", "id": "b3:" + "0" * 64, "bytes": len(body)}
    given = json.loads(body)["inputs"]
    return 200, done("".join(piece.get("text", "") for piece in given))


class Feeds(unittest.TestCase):
    def test_each_line_is_a_record_with_its_end_or_without(self) -> None:
        lines = ["a\n", "b", b"c\n", bytearray(b"d"), ""]
        self.assertEqual(list(batches(lines, 7)), [(7, b"a\nb\nc\nd\n\n")])
        self.assertEqual(list(batches([], 3)), [(3, b"")])

    def test_more_than_one_request_holds_are_several(self) -> None:
        asked = [(first, body.count(b"\n")) for first, body in batches((str(n) for n in range(10_000)), 5)]
        self.assertEqual(asked, [(5, 4_096), (4_101, 4_096), (8_197, 1_808)])
        self.assertEqual(len(list(batches(["x" * 300_000] * 4, 0))), 2)

    def test_what_is_no_line_is_refused(self) -> None:
        for wrong in ("abc", b"abc", None, ["a\nb"], [1], [None]):
            with self.subTest(wrong=wrong), self.assertRaises(shoal.BadInput):
                list(batches(wrong, 0))


class Sources(unittest.TestCase):
    def test_what_a_stream_still_holds_is_sent(self) -> None:
        stream = io.BytesIO(b"0123456789")
        stream.read(4)
        source, length = stream_of(stream, None)
        self.assertEqual((source.read(), length), (b"456789", 6))

    def test_files_that_do_not_know_their_size_are_read_to_their_end(self) -> None:
        source, _ = stream_of(Path("/proc/self/status"), None)
        self.assertIn(b"Name:", source)

    def test_text_and_lengths_that_mean_nothing_are_refused(self) -> None:
        for source, length in ((io.StringIO("x"), None), (io.BytesIO(b"x"), -1), (b"x", 1), (Path("/dev/null"), 1)):
            with self.subTest(source=source), self.assertRaises(shoal.BadInput):
                stream_of(source, length)


class Addresses(unittest.TestCase):
    def test_the_socket_is_given_or_in_the_environment_or_the_users_own(self) -> None:
        with mock.patch.dict(os.environ, {"SHOAL_API": "unix:/x/api.sock", "XDG_RUNTIME_DIR": "/run/user/7"}):
            self.assertEqual(shoal.Client().socket, "/x/api.sock")
            self.assertEqual(shoal.Client("unix:/y.sock").socket, "/y.sock")
            self.assertEqual(shoal.Client(Path("/y.sock")).socket, "/y.sock")
            with mock.patch("os.getuid", return_value=7):
                self.assertEqual(default_socket(), "/run/user/7/shoal/shoald.sock")
            with mock.patch("os.getuid", return_value=0):
                self.assertEqual(default_socket(), "/run/shoal/shoald.sock")
        with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": "relative"}), mock.patch("os.getuid", return_value=7):
            self.assertEqual(default_socket(), "/tmp/shoal-7/shoald.sock")
        for wrong in ("", "unix:", "shoald"):
            with self.subTest(wrong=wrong), self.assertRaises(errors.BadAddress):
                socket_of(wrong)

    def test_nobody_at_the_socket_is_said_with_what_to_do(self) -> None:
        with self.assertRaises(shoal.Unreachable) as caught:
            shoal.Client("unix:/nowhere/at/all.sock").status()
        self.assertEqual((caught.exception.code, caught.exception.retryable), ("SH0101", True))
        self.assertIn("shoal up", caught.exception.hint)
        with self.assertRaises(shoal.Unreachable):
            asyncio.run(shoal.AsyncClient("unix:/nowhere/at/all.sock").status())


class Connections(unittest.TestCase):
    def test_one_connection_serves_many_requests(self) -> None:
        with FakeDaemon(lambda *_: (200, STATUS)) as daemon:
            with shoal.Client(daemon.socket) as client:
                self.assertEqual({client.status().me.name for _ in range(20)}, {"edge-1"})
            self.assertEqual(daemon.connections, 1)

            async def ask() -> None:
                async with shoal.AsyncClient(daemon.socket) as client:
                    for _ in range(20):
                        await client.status()

            asyncio.run(ask())
            self.assertEqual(daemon.connections, 2)

    def test_a_question_is_asked_again_when_a_kept_connection_was_closed(self) -> None:
        answered: List[str] = []

        def say(method: str, path: str, body: bytes) -> Any:
            answered.append(path)
            return None if len(answered) == 2 else (200, STATUS)

        with FakeDaemon(say) as daemon, shoal.Client(daemon.socket) as client:
            client.status()
            self.assertEqual(client.status().me.name, "edge-1")
        self.assertEqual(len(answered), 3)

    def test_an_order_that_may_have_been_heard_is_not_given_twice(self) -> None:
        def say(method: str, path: str, body: bytes) -> Any:
            return (200, STATUS) if method == "GET" else None

        with FakeDaemon(say) as daemon, shoal.Client(daemon.socket) as client:
            client.status()
            with self.assertRaises(shoal.ConnectionBroke):
                client.cancel("last")
            self.assertEqual([method for method, _, _ in daemon.asked], ["GET", "POST"])

    def test_a_frozen_daemon_is_noticed(self) -> None:
        thaw = threading.Event()

        def say(*_: Any) -> Any:
            thaw.wait(30)

        with FakeDaemon(say) as daemon:
            with self.assertRaises(shoal.TimedOut):
                shoal.Client(daemon.socket, timeout=0.1).status()
            with self.assertRaises(shoal.TimedOut):
                asyncio.run(shoal.AsyncClient(daemon.socket, timeout=0.1).status())
            thaw.set()

    def test_a_client_goes_on_after_an_event_loop_has_ended(self) -> None:
        with FakeDaemon(lambda *_: (200, STATUS)) as daemon:
            client = shoal.AsyncClient(daemon.socket)
            # What the first loop leaves open is what this is about.
            warnings.simplefilter("ignore", ResourceWarning)

            async def ask() -> str:
                return (await client.status()).me.name

            self.assertEqual([asyncio.run(ask()), asyncio.run(ask())], ["edge-1", "edge-1"])


class Errors(unittest.TestCase):
    def test_every_code_has_its_type_and_carries_what_the_daemon_said(self) -> None:
        for code, kind in errors.BY_CODE.items():
            said = problem(code, 418, detail="why", hint="do this", retryable=True, retry_after_ms=1_500)
            with self.subTest(code=code), FakeDaemon(lambda *_: said) as daemon, self.assertRaises(kind) as caught:
                shoal.Client(daemon.socket).status()
            error = caught.exception
            self.assertEqual((error.code, error.title, error.detail), (code, f"title of {code}", "why"))
            self.assertEqual(
                (error.hint, error.retryable, error.retry_after, error.status), ("do this", True, 1.5, 418)
            )
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again), again.hint), (kind, str(error), "do this"))

    def test_an_unknown_code_is_still_a_problem(self) -> None:
        with FakeDaemon(lambda *_: problem("SH0999", 400)) as daemon, self.assertRaises(shoal.Problem) as caught:
            shoal.Client(daemon.socket).status()
        self.assertEqual(caught.exception.code, "SH0999")

    def test_what_does_not_speak_our_schema_is_another_version(self) -> None:
        for said in ((200, {"schema": "shoal/v2"}), (200, b"<html>"), (200, [1]), (500, b"oops")):
            with self.subTest(said=said), FakeDaemon(lambda *_: said) as daemon, self.assertRaises(shoal.WrongVersion):
                shoal.Client(daemon.socket).status()

    def test_a_module_that_fails_raises_with_its_result(self) -> None:
        _, failed = problem("SH0420", 200)
        view = done("partly", exit_code=3, log="error: no\n", problem=failed)
        with FakeDaemon(lambda *_: (200, view)) as daemon, shoal.Client(daemon.socket) as client:
            with self.assertRaises(shoal.TaskFailed) as caught:
                client.run("b3:1")
            result = caught.exception.result
            assert result is not None
            self.assertEqual((result.exit_code, result.text, caught.exception.detail), (3, "partly", "error: no"))
            self.assertEqual(client.run("b3:1", check=False).exit_code, 3)


class Requests(unittest.TestCase):
    def asked(self, *args: Any, **options: Any) -> Any:
        with FakeDaemon(say_done) as daemon, shoal.Client(daemon.socket) as client:
            client.run(*args, **options)
            return json.loads(daemon.asked[-1][2])

    def test_options_become_what_the_api_calls_them(self) -> None:
        asked = self.asked(
            "noop",
            ["text", b"\xff", shoal.Blob("b3:2")],
            args=["--top", 3],
            on=["site=a", "cam-17"],
            no_cloud=True,
            deadline=0.25,
            timeout=2,
            memory="64Mi",
            min_accuracy=0.9667,
            variants={"int8": ("digit_small", 0.0333)},
            verify="quorum:2/3",
            weight=2.0,
            idempotency_key="k",
        )

        self.assertEqual(asked["inputs"], [{"text": "text"}, {"base64": "/w=="}, {"blob": "b3:2"}])
        self.assertEqual((asked["args"], asked["labels"], asked["peer"]), (["--top", "3"], {"site": "a"}, "cam-17"))
        self.assertEqual((asked["cloud"], asked["deadline_ms"], asked["wall_ms"]), ("never", 250, 2_000))
        self.assertEqual((asked["memory_bytes"], asked["loss_max"], asked["lambda"]), (64 << 20, 0.0333, 2.0))
        self.assertEqual([(v["name"], v["loss"]) for v in asked["variants"]], [("full", 0.0), ("int8", 0.0333)])
        self.assertTrue(asked["wait"] and asked["name"] == "noop.wasm")

    def test_large_inputs_become_blobs_and_files_are_read(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "small"
            path.write_bytes(b"from a file")
            asked = self.asked("noop", [path, b"x" * 300_000, io.BytesIO(b"from memory")])

        self.assertEqual(
            asked["inputs"], [{"text": "from a file"}, {"blob": "b3:" + "0" * 64}, {"text": "from memory"}]
        )

    def test_a_module_is_sent_once(self) -> None:
        with FakeDaemon(say_done) as daemon, shoal.Client(daemon.socket) as client:
            for _ in range(3):
                client.run(MODULE)
            sent = [body for _, path, body in daemon.asked if path == "/v1/blobs"]
        self.assertEqual(sent, [MODULE])

    def test_what_the_daemon_does_not_have_is_sent_when_it_says_so(self) -> None:
        tried: List[str] = []

        def say(method: str, path: str, body: bytes) -> Any:
            tried.append(path)
            return problem("SH0406", 404) if tried == ["/v1/tasks"] else say_done(method, path, body)

        with FakeDaemon(say) as daemon:
            self.assertEqual(shoal.Client(daemon.socket).run("noop", "in").text, "in")
        self.assertEqual(tried, ["/v1/tasks", "/v1/blobs", "/v1/tasks"])

        with FakeDaemon(lambda *_: problem("SH0406", 404)) as daemon, self.assertRaises(shoal.NoSuchBlob):
            shoal.Client(daemon.socket).run("b3:1")

    def test_wrong_arguments_name_the_place_and_the_fix(self) -> None:
        client = shoal.Client("/nowhere.sock")
        for options, word in (
            ({"dead_line": 1}, "deadline"),
            ({"deadline": -1}, "seconds above 0"),
            ({"memory": "64 parsecs"}, "64Mi"),
            ({"min_accuracy": 96}, "from 0 to 1"),
            ({"variants": [("int8", "noop", 3)]}, "from 0 (perfect) to 1"),
            ({"variants": ["noop"]}, "(name, module, loss)"),
            ({"on": ["cam-1", "cam-2"]}, "one peer"),
            ({"args": "--top"}, "list"),
            ({"input": 3}, "Blob"),
            ({"input": io.StringIO("x")}, "rb"),
            ({"input": Path("/nowhere")}, "name a file"),
        ):
            with self.subTest(options=options), self.assertRaises(shoal.BadInput) as caught:
                client.run("noop", **options)
            self.assertIn(word, caught.exception.hint)
        for module, word in (("wordcuont", "wordcount"), ("./no.wasm", "file"), (b"text", "wasm32"), (7, "path")):
            with self.subTest(module=module), self.assertRaises(shoal.BadInput) as caught:
                client.run(module)  # type: ignore[arg-type]
            self.assertIn(word, caught.exception.hint)
        with self.assertRaises(shoal.BadInput):
            client.map("noop", [], concurrency=0)

    def test_an_output_that_stays_is_named_and_not_fetched(self) -> None:
        view = {**done(""), "output": {"blob": {"id": "b3:5", "bytes": 7}}}
        with FakeDaemon(lambda *_: (200, view)) as daemon:
            result = shoal.Client(daemon.socket).run("noop", keep_output=True)
            self.assertTrue(json.loads(daemon.asked[0][2])["keep_output"])

        self.assertEqual((result.blob, result.output, len(daemon.asked)), (shoal.Blob("b3:5", 7), b"", 1))


class Blobs(unittest.TestCase):
    def test_what_is_known_of_a_blob_is_asked_of_new_and_old_peers(self) -> None:
        def new(method: str, path: str, body: bytes) -> Any:
            holders = [{"name": "nas"}] if "seek=true" in path else []
            return 200, {"schema": "shoal/v1", "id": "b3:5", "local": False, "holders": holders}

        def old(method: str, path: str, body: bytes) -> Any:
            listed = {"schema": "shoal/v1", "items": [{"id": "b3:5", "bytes": 9}]}
            return (200, listed) if path == "/v1/blobs" else problem("SH0400", 404)

        with FakeDaemon(new) as daemon, shoal.Client(daemon.socket) as client:
            self.assertEqual(client.stat("b3:5", seek=True).holders[0].name, "nas")
            with self.assertRaises(shoal.NoSuchBlob):
                client.stat("b3:5")
        with FakeDaemon(old) as daemon, shoal.Client(daemon.socket) as client:
            self.assertEqual(client.stat(shoal.Blob("b3:5")).bytes, 9)
            with self.assertRaises(shoal.NoSuchBlob):
                client.stat("b3:6")

    def test_a_service_is_called_by_its_name_and_answers_with_its_version(self) -> None:
        headers = {"shoal-version": "2", "shoal-peer": "edge-1", "shoal-run-us": "1500", "shoal-task": "T"}
        with FakeDaemon(lambda *_: (200, b"words=2", headers)) as daemon, shoal.Client(daemon.socket) as client:
            called = client.call("word count", "a b", key="user 17", peer="edge-1", deadline=0.5)
            self.assertEqual((called.text, called.version, called.peer), ("words=2", 2, "edge-1"))
            self.assertEqual((called.run_seconds, called.task), (0.0015, "T"))

            async def ask() -> shoal.Called:
                async with shoal.AsyncClient(daemon.socket) as client:
                    return await client.call("wordcount", idempotency_key="day-17")

            self.assertEqual(asyncio.run(ask()), called)
            with self.assertRaises(shoal.BadInput):
                client.call("wordcount", idempotency_key="a\r\nb: c")
        self.assertEqual(
            daemon.asked,
            [
                ("POST", "/v1/services/word%20count/call?key=user+17&peer=edge-1&deadline_ms=500", b"a b"),
                ("POST", "/v1/services/wordcount/call", b""),
            ],
        )

    def test_a_call_that_fails_says_what_the_module_said(self) -> None:
        say = lambda *_: problem("SH0464", 502, detail="no such letter")  # noqa: E731
        with FakeDaemon(say) as daemon, shoal.Client(daemon.socket) as client:
            with self.assertRaises(shoal.CallFailed) as caught:
                client.call("ocr", b"x")
            self.assertEqual(caught.exception.detail, "no such letter")

    def test_blobs_are_kept_let_go_and_removed(self) -> None:
        with FakeDaemon(lambda *_: (202, b"")) as daemon, shoal.Client(daemon.socket) as client:
            client.pin("b3:5")
            client.unpin("b3:5")
            client.remove("b3:5")

        asked = [("POST", "/v1/blobs/b3%3A5/pin"), ("POST", "/v1/blobs/b3%3A5/unpin"), ("DELETE", "/v1/blobs/b3%3A5")]
        self.assertEqual([(method, path) for method, path, _ in daemon.asked], asked)


class Users(unittest.TestCase):
    def test_a_key_is_derived_as_blake3_does(self) -> None:
        # By the reference implementation.
        expected = "75c8f6b3c20a782af5fb864bdb7d80c37ab43ffb85563325a3a97aaa40225abd"
        self.assertEqual(_user.derive_key(b"shoal submitter v1", bytes(range(32))).hex(), expected)

    def test_the_users_secret_is_made_once_and_kept_to_the_user(self) -> None:
        with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, {"XDG_DATA_HOME": home}):
            path = Path(home) / "shoal" / "user.key"
            first = _user.submitter()
            self.assertEqual((_user.submitter(), path.stat().st_mode & 0o777), (first, 0o600))

            path.chmod(0o644)
            with self.assertRaises(shoal.BadInput) as caught:
                _user.submitter()
            self.assertIn("chmod 600", caught.exception.hint)
            path.chmod(0o600)
            path.write_text("damaged")
            with self.assertRaises(shoal.BadInput) as caught:
                _user.submitter()
            self.assertIn("is not a user's key", caught.exception.title)


class Pipelines(unittest.TestCase):
    STAGES = [
        shoal.Stage("count", "wordcount", map="texts", options={"args": ["--top", 2], "no_cloud": True}),
        shoal.Stage(
            "total", MODULE, inputs=["count"], kind="process", when={"stage": "count", "exit_code": 0}, near="count"
        ),
    ]

    @staticmethod
    def say(method: str, path: str, body: bytes) -> Any:
        ended = {"schema": "shoal/v1", "pipeline": "P", "state": "done"}
        if path == "/v1/pipelines":
            return 202, {"schema": "shoal/v1", "pipeline": "P", "state": "accepted"}
        if path.startswith("/v1/blobs/"):
            return 200, b"from the holder"
        if path.startswith("/v1/pipelines/P"):
            written = [{"output": {"text": "a"}}, {"output": {"blob": {"id": "b3:5", "bytes": 15}}, "holder": "77"}]
            return 200, {**ended, "results": {"total": written}}
        return say_done(method, path, body)

    def test_a_graph_is_stated_and_its_results_come_back(self) -> None:
        with FakeDaemon(self.say) as daemon, shoal.Client(daemon.socket) as client:
            pipeline = client.pipeline(self.STAGES, {"texts": ["a b", b"x" * 300_000]}, name="words", deadline=2.5)
            asked = json.loads(next(body for _, path, body in daemon.asked if path == "/v1/pipelines"))
            self.assertEqual(pipeline.results(), {"total": [b"a", b"from the holder"]})
            self.assertIn(("GET", "/v1/blobs/b3%3A5?from=77", b""), daemon.asked)

            async def ask() -> Any:
                async with shoal.AsyncClient(daemon.socket) as client:
                    return await (await client.pipeline(self.STAGES, {"texts": []})).results()

            self.assertEqual(asyncio.run(ask()), {"total": [b"a", b"from the holder"]})

        zeros = "b3:" + "0" * 64
        self.assertEqual((asked["name"], asked["deadline_ms"]), ("words", 2_500))
        self.assertEqual(asked["inputs"], {"texts": [{"text": "a b"}, {"blob": zeros}]})
        count, total = asked["stages"]
        self.assertEqual(
            (count["map"], count["task"]["args"], count["task"]["cloud"]), ("texts", ["--top", "2"], "never")
        )
        self.assertEqual(count["task"]["inputs"], [])
        self.assertEqual((total["inputs"], total["kind"], total["near"]), (["count"], "process", "count"))
        self.assertEqual(total["task"]["variants"], [{"name": "", "module": zeros, "loss": 0.0}])

    def test_what_is_wrong_with_a_stage_is_said(self) -> None:
        client = shoal.Client("/nowhere.sock")
        for stages, inputs in ((["count"], {}), ([shoal.Stage("a", "noop", inputs="texts")], {}), ([], {"texts": "a"})):
            with self.subTest(stages=stages), self.assertRaises(shoal.BadInput):
                client.pipeline(stages, inputs)  # type: ignore[arg-type]


class Mapping(unittest.TestCase):
    """`map` with either client gives the results in order, within its bounds, and comes back when it was refused."""

    def both(self, say: Any, *args: Any, **options: Any) -> List[Any]:
        found = []
        with FakeDaemon(say) as daemon:
            found.append(shoal.Client(daemon.socket).map(*args, **options))

            async def ask() -> Any:
                async with shoal.AsyncClient(daemon.socket) as client:
                    return await client.map(*args, **options)

            found.append(asyncio.run(ask()))
        return found

    def test_results_stand_in_the_order_of_the_inputs(self) -> None:
        def say(method: str, path: str, body: bytes) -> Any:
            # The earlier the input, the later its answer.
            time.sleep(0.02 * (8 - int(json.loads(body)["inputs"][0]["text"])))
            return say_done(method, path, body)

        for results in self.both(say, "noop", [str(n) for n in range(8)], concurrency=8):
            self.assertEqual([result.text for result in results], list("01234567"))

    def test_no_more_are_under_way_than_asked_for(self) -> None:
        lock, under_way, most = threading.Lock(), [0], [0]

        def say(method: str, path: str, body: bytes) -> Any:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            time.sleep(0.01)
            with lock:
                under_way[0] -= 1
            return say_done(method, path, body)

        self.both(say, "noop", ["x"] * 40, concurrency=3)

        self.assertIn(most[0], (2, 3))

    def test_inputs_are_taken_as_they_are_needed(self) -> None:
        taken = []

        def inputs() -> Any:
            for number in range(1_000):
                taken.append(number)
                yield str(number)

        with FakeDaemon(lambda *_: problem("SH0412", 409)) as daemon, self.assertRaises(shoal.NoCandidate):
            shoal.Client(daemon.socket).map("noop", inputs(), concurrency=2)
        self.assertLess(len(taken), 10)

    def test_what_was_refused_for_overload_is_handed_in_again(self) -> None:
        lock, refusals = threading.Lock(), {}

        def say(method: str, path: str, body: bytes) -> Any:
            text = json.loads(body)["inputs"][0]["text"]
            with lock:
                refusals[text] = refusals.get(text, 0) + 1
                again = refusals[text] % 3
            return (
                say_done(method, path, body) if again == 0 else problem("SH0429", 429, retryable=True, retry_after_ms=5)
            )

        for results in self.both(say, "noop", list("abcd"), concurrency=2):
            self.assertEqual([result.text for result in results], list("abcd"))
        self.assertEqual(set(refusals.values()), {6})

    def test_results_can_be_copied_and_sent_to_other_processes(self) -> None:
        for result in self.both(say_done, "noop", ["a"])[0]:
            again = pickle.loads(pickle.dumps(result))
            self.assertEqual((again, again.view.task, copy.deepcopy(result)), (result, "T", result))

    def test_patience_has_an_end(self) -> None:
        overloaded = problem("SH0429", 429, retryable=True, retry_after_ms=50)
        with FakeDaemon(lambda *_: overloaded) as daemon, self.assertRaises(shoal.Overloaded):
            shoal.Client(daemon.socket).map("noop", ["a"], patience=0.2)

    def test_errors_may_stand_where_results_would(self) -> None:
        def say(method: str, path: str, body: bytes) -> Any:
            bad = json.loads(body)["inputs"][0]["text"] == "bad"
            return problem("SH0412", 409) if bad else say_done(method, path, body)

        for results in self.both(say, "noop", ["a", "bad", "c"], return_errors=True):
            self.assertEqual([type(result).__name__ for result in results], ["Result", "NoCandidate", "Result"])

    def test_waits_are_never_shorter_than_asked_and_grow_up_to_a_bound(self) -> None:
        self.assertEqual(spread(0.1, 0, 0.0), 0.1)
        self.assertAlmostEqual(spread(0.1, 0, 1.0), 0.2)
        self.assertAlmostEqual(spread(0.1, 3, 1.0), 0.9)
        self.assertAlmostEqual(spread(0.1, 3, 0.5), 0.5)
        self.assertEqual(spread(3_600.0, 40, 1.0), WAIT_MAX)


class News(unittest.TestCase):
    STREAM = (
        b'id: 1\ndata: {"schema":"shoal/v1","sequence":1,"event":"peer_changed"}\n\n: note\n\n'
        b'event: lagged\ndata: {"missed":7}\n\ndata:{"schema":"shoal/v1","sequence":9,"event":"task_changed"}\r\n\r\n'
    )

    def test_events_are_read_and_losses_counted(self) -> None:
        with FakeDaemon(lambda *_: (200, self.STREAM)) as daemon:
            with shoal.Client(daemon.socket).events(since=0) as events:
                self.assertEqual([event.sequence for event in events], [1, 9])
                self.assertEqual(events.missed, 7)
            self.assertEqual(daemon.asked[-1][1], "/v1/events?since=0")

            async def follow() -> List[int]:
                async with shoal.AsyncClient(daemon.socket).events() as news:
                    return [event.sequence async for event in news]

            self.assertEqual(asyncio.run(follow()), [1, 9])

    def test_a_refusal_is_an_error(self) -> None:
        with FakeDaemon(lambda *_: problem("SH0403", 403)) as daemon, self.assertRaises(shoal.Denied):
            shoal.Client(daemon.socket).events()


if __name__ == "__main__":
    unittest.main()
