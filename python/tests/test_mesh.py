"""The clients against real peers: everything they can ask, and what the mesh makes of it."""

import asyncio
import io
import os
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from support import LONG, wait_until
import shoal
from shoal._modules import BUNDLED
from shoal.programs import program

MESH: shoal.Mesh


def setUpModule() -> None:
    global MESH
    # The user's key is made where nobody's is.
    home = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(home.cleanup)
    environment = mock.patch.dict(os.environ, {"XDG_DATA_HOME": home.name})
    environment.start()
    unittest.addModuleCleanup(environment.stop)
    MESH = shoal.Mesh.start(cloud=1, edge=2, loopback=True)
    unittest.addModuleCleanup(MESH.close)


class Asking(unittest.TestCase):
    def setUp(self) -> None:
        self.client = MESH.client("edge-1")

    def test_who_is_here(self) -> None:
        status = self.client.status()

        self.assertEqual((status.me.name, status.me.role), ("edge-1", "edge"))
        self.assertEqual({peer.name for peer in self.client.peers()} - {"edge-1"}, {"edge-2", "cloud-1"})
        self.assertGreater(self.client.ping("edge-2").rtt_ms, 0)
        self.assertEqual(self.client.rtt("edge-1", "edge-2").schema, "shoal/v1")
        self.assertIn("node.name", [value.key for value in self.client.config()])
        self.assertTrue(self.client.checks())

    def test_a_module_runs_where_it_is_told_to(self) -> None:
        for peer in ("cloud-1", "edge-2"):
            result = self.client.run("wordcount", "to be or not to be", args=["--top", 1], peer=peer)

            self.assertEqual(result.text, "lines=0 words=6 bytes=18\n2 be\n")
            self.assertEqual((result.executor, result.state, result.exit_code), (peer, "done", 0))
            self.assertGreater(result.timings.total_us, 0)
        self.assertEqual(self.client.run("wordcount", "x", local_only=True).executor, "edge-1")
        self.assertEqual(self.client.run("wordcount", "x", role="cloud", cloud="allow").role, "cloud")

    def test_large_inputs_and_outputs_come_back_whole(self) -> None:
        words = b" ".join(b"w%d" % n for n in range(60_000))

        result = self.client.run("wordcount", words, args=["--top", 10_000])
        small = self.client.run("wordcount", [words[:10], words[10:]])

        self.assertEqual(result.text.count("\n"), 10_001)
        self.assertEqual(small.text.splitlines()[0], result.text.splitlines()[0])

    def test_errors_are_of_their_type(self) -> None:
        for kind, module, options in (
            (shoal.NoSuchPeer, "wordcount", {"peer": "nobody"}),
            (shoal.NoCandidate, "wordcount", {"on": {"site": "moon"}}),
            (shoal.TaskFailed, "wordcount", {"args": ["--what"]}),
            (shoal.LimitHit, "spin", {"args": [10**15], "timeout": 0.2}),
            (shoal.InvalidModule, b"\0asm\1\0\0\0", {}),
            (shoal.BadRequest, "wordcount", {"verify": "perhaps"}),
        ):
            with self.subTest(kind=kind.__name__), self.assertRaises(kind) as caught:
                self.client.run(module, **options)
            self.assertTrue(caught.exception.code.startswith("SH04"))
            self.assertTrue(caught.exception.hint)
        with self.assertRaises(shoal.NoSuchTask):
            self.client.task("nothing")

    def test_a_limit_is_raised_by_the_keyword_that_the_hint_names(self) -> None:
        with self.assertRaises(shoal.LimitHit) as caught:
            self.client.run("spin", args=[10**15], timeout=0.1)
        self.assertIn("`timeout=…`", caught.exception.hint)
        with self.assertRaises(shoal.LimitHit) as caught:
            self.client.run("wordcount", b"word " * 10, output_limit=8)
        self.assertIn("`output_limit=…`", caught.exception.hint)

    def test_a_submitted_task_is_kept_and_named_by_its_key(self) -> None:
        task = self.client.submit("wordcount", "a b c", durable=2, idempotency_key="three words", retention=600)
        same = MESH.client("edge-2").submit("wordcount", "a b c", durable=2, idempotency_key="three words")

        self.assertEqual(task.id, same.id)
        self.assertTrue(task.result(LONG).text.startswith("lines=0 words=3"))
        self.assertEqual(task.show().state, "done")
        self.assertEqual(task.explain()[-1].task, task.id)
        self.assertEqual(MESH.client("edge-2").task(task.id).result(LONG).text, task.result().text)
        self.assertIn(task.id, [view.task for view in self.client.tasks(50)])

    def test_a_key_names_the_same_task_here_and_at_the_command_line(self) -> None:
        task = self.client.submit("wordcount", "a b c", idempotency_key="either way")

        module = str(BUNDLED / "wordcount.wasm")
        command = [program("shoal"), "--api", f"unix:{self.client.socket}", "submit", module, "--key", "either way"]
        said = subprocess.run(command, input="a b c", capture_output=True, text=True)

        self.assertEqual(said.stdout.strip(), task.id, said.stderr)

    def test_a_task_can_be_withdrawn_and_waiting_has_an_end(self) -> None:
        task = self.client.submit("spin", args=[10**13], durable=0, timeout=30)
        with self.assertRaises(shoal.TimedOut):
            task.wait(0.05)

        task.cancel()

        self.assertEqual(task.wait(LONG).state, "cancelled")
        with self.assertRaises(shoal.Cancelled):
            task.result()

    def test_blobs_go_in_and_come_out_at_any_peer(self) -> None:
        data = bytes(range(256)) * 4_000
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "data"
            path.write_bytes(data)
            blobs = [self.client.put(source) for source in (data, path, io.BytesIO(data))]
            with path.open("rb") as file:
                blobs.append(self.client.put(file, length=len(data)))

        self.assertEqual(len({blob.id for blob in blobs}), 1)
        self.assertEqual(self.client.stat(blobs[0]).bytes, len(data))
        self.assertIn(blobs[0].id, [blob.id for blob in self.client.blobs()])
        self.assertEqual(MESH.client("edge-2").get(blobs[0], peer="edge-1"), data)
        file = io.BytesIO()
        self.client.get_to(blobs[0], file)
        self.assertEqual(file.getvalue(), data)
        with self.assertRaises(shoal.NoSuchBlob):
            self.client.get("b3:" + "1" * 64)
        with self.assertRaises(shoal.NoSuchBlob):
            self.client.stat("b3:" + "1" * 64)

    def test_a_pinned_blob_stays_until_it_is_removed(self) -> None:
        blob = self.client.put(b"to be kept")
        try:
            self.client.pin(blob)
        except shoal.BadRequest as error:
            if error.status not in (404, 405):
                raise
            self.skipTest("these peers cannot pin")

        self.assertTrue(self.client.stat(blob).pinned)
        self.client.unpin(blob)
        self.client.remove(blob)
        with self.assertRaises(shoal.NoSuchBlob):
            self.client.stat(blob)
        kept = self.client.run("wordcount", "a b", keep_output=True, peer="cloud-1")
        assert kept.blob is not None
        self.assertEqual(self.client.run("wordcount", kept.blob).text.split()[0], "lines=3")

    def test_a_decision_names_its_winner_and_every_term(self) -> None:
        decision = self.client.dry_run("wordcount", "x", on="cloud-1")

        winner = decision.candidates[0]
        self.assertEqual((winner.name, winner.verdict, winner.peer), ("cloud-1", "won", decision.executor))
        terms = [winner.cost[term] for term in ("loss", "wait", "transfer", "compute")]
        self.assertAlmostEqual(shoal.total(winner.cost), sum(terms))
        self.client.run("wordcount", "x", on="cloud-1")
        self.assertEqual(self.client.explain("last")[-1].method, "pinned")

    def test_the_variant_that_is_good_enough_runs(self) -> None:
        take = Path(__file__).parent.parent.parent / "examples/data/digits/7_theo_8.wav"
        if not take.exists():
            self.skipTest("the recordings are not here")

        exact = self.client.run("digit", take, variants={"small": ("digit_small", 0.0333)}, min_accuracy=0.99)
        either = self.client.run("digit", take, variants=[("small", "digit_small", 0.0333)], min_accuracy=0.9)

        self.assertEqual(exact.variant, "full")
        self.assertIn(either.variant, ("full", "small"))
        self.assertTrue(exact.text.startswith("digit=7"))

    def test_map_gives_each_input_its_own_result(self) -> None:
        texts = [f"{'word ' * n}" for n in range(40)]

        results = self.client.map("wordcount", iter(texts), concurrency=8)

        self.assertEqual([result.text.split()[1] for result in results], [f"words={n}" for n in range(40)])

    def test_a_pipeline_counts_words_and_then_the_counts(self) -> None:
        count = shoal.Stage("count", "wordcount", map="texts", options={"args": ["--top", 1]})
        stages = [count, shoal.Stage("total", "wordcount", inputs=["count"])]
        texts = {"texts": ["a a", "b b b"]}
        try:
            pipeline = self.client.pipeline(stages, texts, name="words")
        except shoal.BadRequest as error:
            if error.status != 404:
                raise
            self.skipTest("these peers do not know of pipelines")

        # Both counts, "lines=0 words=2 bytes=3\n2 a\n" and its like, are read as one text.
        self.assertTrue(pipeline.results(LONG)["total"][0].startswith(b"lines=4 words=10 "))
        self.assertEqual(pipeline.show().state, "done")
        self.assertIn(pipeline.id, [view.pipeline for view in self.client.pipelines()])
        self.assertEqual(len(self.client.plan(stages, texts).tasks), 3)

    def test_events_tell_of_a_task_from_beginning_to_end(self) -> None:
        with self.client.events(timeout=LONG) as events:
            task = self.client.submit("wordcount", "x")
            states = []
            for event in events:
                if event.event == "task_changed" and event.task == task.id:
                    states.append(event.state)
                    if event.state == "done":
                        break

        self.assertEqual((states[0], states[-1]), ("accepted", "done"))

    def test_silence_ends_where_a_timeout_was_given(self) -> None:
        with self.client.events(timeout=0.3) as events, self.assertRaises(shoal.TimedOut):
            for _ in events:
                pass

    def test_threads_share_a_client(self) -> None:
        names = []

        def ask() -> None:
            names.extend(self.client.status().me.name for _ in range(25))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(names, ["edge-1"] * 200)


    def test_a_service_is_deployed_at_one_peer_and_called_at_all(self) -> None:
        mesh_dir = Path(self.client.socket).parents[2]
        deploy = [program("shoal"), "--api", f"unix:{self.client.socket}", "service", "deploy", "words"]
        subprocess.run(
            [*deploy, BUNDLED / "wordcount.wasm", "--data-dir", mesh_dir], check=True, timeout=LONG, capture_output=True
        )
        for name in ("edge-1", "edge-2", "cloud-1"):
            client = MESH.client(name)
            wait_until(f"the service is known at {name}", lambda: bool(client.services()))
            called = client.call("words", "to be or not to be")

            self.assertEqual((called.text.split()[1], called.version), ("words=6", 1))
        self.assertEqual(self.client.service("words").current, 1)
        with self.assertRaises(shoal.NoSuchService):
            self.client.call("nothing")


class Awaiting(unittest.IsolatedAsyncioTestCase):
    async def test_the_same_methods_are_awaited(self) -> None:
        async with shoal.AsyncClient(MESH.client("edge-1").socket) as client:
            self.assertEqual((await client.status()).me.name, "edge-1")
            self.assertEqual((await client.run("wordcount", "a b")).text.split()[1], "words=2")
            with self.assertRaises(shoal.NoCandidate):
                await client.run("wordcount", on={"site": "moon"})

            blob = await client.put(b"some bytes")
            self.assertEqual(await client.get(blob), b"some bytes")

            texts = ["word " * n for n in range(20)]
            results = await client.map("wordcount", texts, concurrency=5)
            self.assertEqual([result.text.split()[1] for result in results], [f"words={n}" for n in range(20)])

            async with client.events(timeout=LONG) as events:
                task = await client.submit("wordcount", "x y", durable=1)
                async for event in events:
                    if event.event == "task_changed" and event.task == task.id and event.state == "done":
                        break
            self.assertEqual((await task.result(LONG)).text.split()[1], "words=2")
            self.assertEqual((await task.explain())[-1].task, task.id)

    async def test_a_request_that_is_given_up_harms_no_other(self) -> None:
        async with shoal.AsyncClient(MESH.client("edge-1").socket) as client:
            slow = asyncio.ensure_future(client.run("spin", args=[10**12], timeout=20, expect=0.01))
            await asyncio.sleep(0)
            slow.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await slow

            answers = await asyncio.gather(*(client.status() for _ in range(50)))

            self.assertEqual({answer.me.name for answer in answers}, {"edge-1"})


if __name__ == "__main__":
    unittest.main()
