"""`LeptonAI` on a real mesh of three cloud and two edge nodes."""

import csv
import json
import math
import os
import random
import signal
import sys
import threading
import unittest
import unittest.mock
from pathlib import Path
from typing import Any, List, Tuple

import support
import shoal
from shoal.compat import LeptonAI, Results, accuracy, log_loss
from shoal.table import Table

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]
    banner = "*" * 72
    # Not by `skipTest` alone: nobody reads how many tests were skipped.
    print(
        f"{banner}\n* SKIPPED: numpy is not installed, so arrays were NOT tried, only lists.\n{banner}", file=sys.stderr
    )

LEPTON: LeptonAI


def setUpModule() -> None:
    global LEPTON
    LEPTON = LeptonAI(num_cloud_nodes=3, num_edge_nodes=2, loopback=True)
    unittest.addModuleCleanup(LEPTON.close)


def rows(count: int, columns: int, seed: int = 7) -> List[List[float]]:
    chance = random.Random(seed)
    return [[chance.gauss(0, 1) for _ in range(columns)] for _ in range(count)]


def learnable(count: int = 300) -> Tuple[List[List[float]], List[int]]:
    """Labels that follow from the first two columns, on scales that need standardising."""
    data = [[1e4 + 500 * a, 1e-3 * b, c] for a, b, c in rows(count, 3)]
    return data, [int((row[0] - 1e4) / 500 > row[1] * 1e3) for row in data]


def occupancy(path: Path) -> Tuple[List[List[float]], List[int]]:
    with path.open() as file:
        minutes = list(csv.DictReader(file))
    columns = ("temperature", "humidity", "light", "co2")
    return [[float(minute[column]) for column in columns] for minute in minutes], [
        int(minute["occupied"]) for minute in minutes
    ]


class TheListing(unittest.TestCase):
    """The published example, line by line."""

    def check(self, results: Results, count: int) -> None:
        self.assertEqual(len(results), 5)
        self.assertEqual([user.rows for user in results], [(n * count // 5, (n + 1) * count // 5) for n in range(5)])
        self.assertEqual(len(results.predictions), count)
        assert results.loss is not None and results.accuracy is not None
        # Labels by chance cannot be learnt: whoever claims to is wrong.
        self.assertGreater(results.loss, 0.66)
        self.assertLess(results.loss, 0.85)
        self.assertTrue(0.4 < results.accuracy < 0.6, results.accuracy)
        for user in results:
            self.assertTrue(all(node in range(5) for node in user.nodes), user.nodes)

    @unittest.skipIf(np is None, "numpy is not installed")
    def test_with_arrays(self) -> None:
        lepton = LEPTON
        np.random.seed(5)

        def process_data(data: Any, node: Any) -> Any:
            return lepton.process(data, node)

        def transfer_data(data: Any, node: Any) -> Any:
            return lepton.transfer(data, node)

        def compute(data: Any, node: Any) -> Any:
            return lepton.compute(data, node)

        data = np.random.randn(1000, 10)
        labels = np.random.randint(0, 2, 1000)
        results = lepton.process_data(data, labels, [process_data, transfer_data, compute])

        self.check(results, 1000)

    def test_with_lists(self) -> None:
        chance = random.Random(5)
        labels = [chance.randrange(2) for _ in range(1000)]

        results = LEPTON.process_data(rows(1000, 10), labels, [LEPTON.process, LEPTON.transfer, LEPTON.compute])

        self.check(results, 1000)


class Nodes(unittest.TestCase):
    def test_cloud_nodes_come_first(self) -> None:
        self.assertEqual(LEPTON.nodes, ["cloud-1", "cloud-2", "cloud-3", "edge-1", "edge-2"])

    def test_a_step_runs_at_the_node_of_its_number(self) -> None:
        table = Table.of(rows(20, 3), [0, 1] * 10)
        for node, name in enumerate(LEPTON.nodes):
            clean = LEPTON.process(table, node)
            ran = LEPTON.report().steps[-1]
            self.assertEqual((ran.kind, ran.node), ("process", name))

            LEPTON.compute(clean, node)
            self.assertEqual(LEPTON.report().steps[-1].node, name)

    def test_bytes_are_taken_to_the_node_of_their_number(self) -> None:
        for node, name in enumerate(LEPTON.nodes):
            small = LEPTON.transfer(Table.of(rows(50, 4, seed=100 + node)), node)

            step = LEPTON.report().steps[-1]
            self.assertEqual((step.target, small.encoding), (name, "i16"))
            held = [blob.bytes for blob in LEPTON.mesh.client(node).blobs()]
            if name != step.home:
                self.assertEqual(step.delivered_bytes, small.nbytes)
                self.assertIn(small.nbytes, held)
            # What is there is used: the input does not cross the network again.
            LEPTON.compute(small.with_labels([0, 1] * 25), node)

    def test_without_a_number_the_mesh_decides(self) -> None:
        self.assertEqual(LEPTON.report().steps[-1].decision is not None, True)
        LEPTON.process(rows(5, 2), None)
        self.assertIn(LEPTON.report().steps[-1].node, LEPTON.nodes)
        LEPTON.transfer(rows(5, 2))
        self.assertIn(LEPTON.report().steps[-1].target, LEPTON.nodes)

    def test_other_numbers_are_refused(self) -> None:
        for node in (5, -1, 99, "edge-1", 1.0, True):
            with self.subTest(node=node), self.assertRaises(shoal.BadInput) as caught:
                LEPTON.process(rows(2, 2), node)  # type: ignore[arg-type]
            self.assertIn("0 to 2 are cloud nodes and 3 to 4 are edge nodes", str(caught.exception))
            with self.assertRaises(shoal.BadInput):
                LEPTON.transfer(rows(2, 2), node)  # type: ignore[arg-type]


class Steps(unittest.TestCase):
    def test_processing_standardises_and_keeps_labels(self) -> None:
        data, labels = learnable()

        clean = LEPTON.process(Table.of(data, labels))

        self.assertEqual(clean.labels, labels)
        for column in range(3):
            values = [row[column] for row in clean]
            self.assertAlmostEqual(sum(values) / len(values), 0, places=9)
            self.assertLessEqual(max(map(abs, values)), 5)

    def test_a_transfer_saves_most_bytes_and_little_truth(self) -> None:
        exact = LEPTON.process(rows(400, 10))

        small = LEPTON.transfer(exact, 0)

        self.assertLess(small.nbytes, 0.27 * exact.nbytes)
        for before, after in zip(exact, small):
            # Columns span at most ten deviations, in 65,534 steps.
            self.assertTrue(all(abs(a - b) <= 10 / 65_534 for a, b in zip(before, after)))

    def test_what_can_be_learnt_is_learnt_and_applied_to_other_rows(self) -> None:
        data, labels = learnable()
        sequence = [LEPTON.process, LEPTON.transfer, LEPTON.compute]

        results = LEPTON.process_data(data, labels, sequence, users=3)

        assert results.loss is not None and results.accuracy is not None
        self.assertGreater(results.accuracy, 0.9)
        self.assertLess(results.loss, 0.35)
        mean = sum(user.loss * (user.rows[1] - user.rows[0]) for user in results) / 300
        self.assertAlmostEqual(results.loss, mean)
        self.assertAlmostEqual(results.loss, log_loss(labels, results.predictions))

        fresh, fresh_labels = learnable(100)
        judged = LEPTON.compute(LEPTON.process(fresh, like=LEPTON.scale), None)
        self.assertGreater(sum((p > 0.5) == label for p, label in zip(judged, fresh_labels)), 90)

    def test_the_occupancy_of_a_room_is_learnt_from_its_air(self) -> None:
        """Real minutes: temperature, humidity, light and CO2 of an office, and whether somebody was there."""
        directory = Path(__file__).parent.parent.parent / "examples/data/occupancy"
        if not directory.exists():
            self.skipTest("the recordings are not here")
        data, labels = occupancy(directory / "train.csv")
        fresh, fresh_labels = occupancy(directory / "test.csv")

        # Five users have different days: some of them never saw anybody.
        for users, right in ((1, 0.97), (5, 0.89)):
            lepton = LeptonAI(mesh=LEPTON.mesh)
            results = lepton.process_data(data, labels, [lepton.process, lepton.transfer, lepton.compute], users=users)
            judged = lepton.compute(lepton.transfer(lepton.process(fresh, like=lepton.scale), 0), 0)

            # By models that have not seen the row; empty rooms alone would be 78.8 %.
            self.assertGreater(results.accuracy or 0, 0.98)
            self.assertLess(results.loss or 1, 0.07)
            # By what was learnt, on other days.
            self.assertGreater(accuracy(fresh_labels, judged), right)

    def test_a_scale_that_is_none_is_refused(self) -> None:
        with self.assertRaises(shoal.BadInput) as caught:
            LEPTON.process(rows(5, 3), like=Table.of(rows(4, 3)))
        self.assertIn("lepton.scale", caught.exception.hint)

    def test_the_same_rows_give_the_same_answer_wherever_they_run(self) -> None:
        data, labels = learnable(60)
        answers = [list(LEPTON.compute(LEPTON.process(data, node), node, labels=labels)) for node in range(5)]

        self.assertEqual(answers, [answers[0]] * 5)

    def test_without_labels_and_model_it_is_said_what_is_missing(self) -> None:
        fresh = LeptonAI(mesh=LEPTON.mesh)
        with self.assertRaises(shoal.BadInput) as caught:
            fresh.compute(rows(3, 2), 3)
        self.assertIn("labels", caught.exception.hint)
        with self.assertRaises(shoal.TaskFailed) as failed:
            fresh.compute(rows(3, 2), 3, model=Table.of([[1.0, 2.0]]))
        self.assertIn("2 columns need 1 row of 3", failed.exception.detail)

    def test_missing_values_are_filled_where_that_is_asked_for(self) -> None:
        data = rows(40, 3)
        data[7][1] = math.nan
        filling = LeptonAI(mesh=LEPTON.mesh, missing="mean")

        clean = filling.process(data)

        self.assertEqual(clean[7][1], 0.0)
        results = filling.process_data(data, [0, 1] * 20, [filling.process, filling.transfer, filling.compute])
        self.assertEqual(len(results.predictions), 40)

    def test_functions_of_ones_own_keep_their_labels_by_the_order_of_rows(self) -> None:
        data, labels = learnable(100)
        seen = []

        def double(data: Any, node: Any) -> List[List[float]]:
            seen.append(len(data))
            return [[2 * value for value in row] for row in data]

        results = LEPTON.process_data(data, labels, [double, LEPTON.process, LEPTON.compute], users=4, concurrency=1)

        self.assertEqual(seen, [25] * 4)
        self.assertGreater(results.accuracy or 0, 0.8)

    def test_another_last_step_is_judged_if_it_gives_probabilities(self) -> None:
        data, labels = rows(10, 2), [0, 1] * 5

        sure = LEPTON.process_data(data, labels, [lambda data, node: [0.5] * len(data)], users=2)
        other = LEPTON.process_data(data, labels, [lambda data, node: "done"], users=2)

        self.assertAlmostEqual(sure.loss or 0, math.log(2))
        self.assertEqual((other.loss, [user.output for user in other]), (None, ["done", "done"]))

    def test_a_module_of_ones_own_takes_the_place_of_a_step(self) -> None:
        own = LeptonAI(
            mesh=LEPTON.mesh, process_module="compact", process_args=["--as", "f32"], transfer_args=["--as", "f32"]
        )

        self.assertEqual(own.process(rows(4, 2), 3).encoding, "f32")
        self.assertEqual(own.transfer(rows(4, 2), 3).encoding, "f32")
        broken = LeptonAI(mesh=LEPTON.mesh, process_module="noop")
        with self.assertRaises(shoal.BadInput) as caught:
            broken.process(rows(4, 2))
        self.assertIn("did not write a table", str(caught.exception))

    def test_an_error_of_a_step_reaches_the_caller(self) -> None:
        def fails(data: Any, node: Any) -> Any:
            raise RuntimeError("no")

        with self.assertRaises(RuntimeError):
            LEPTON.process_data(rows(10, 2), [0, 1] * 5, [fails])


class BadInput(unittest.TestCase):
    def test_what_is_wrong_is_named_before_anything_is_run(self) -> None:
        data, labels = rows(10, 2), [0, 1] * 5
        holed = [list(row) for row in data]
        holed[8][1] = math.nan
        before = len(LEPTON.report().steps)
        for arguments, words in (
            ((holed, labels, [LEPTON.process]), "row 8, column 1 is nan"),
            ((data[:9] + [[1.0]], labels, [LEPTON.process]), "row 9 has 1 columns"),
            ((data, labels[:9], [LEPTON.process]), "9 labels for 10 rows"),
            ((data, [2] * 10, [LEPTON.process]), "label of row 0 is 2"),
            (([], [], [LEPTON.process]), "empty"),
            ((data, labels, []), "sequence is empty"),
            ((data, labels, ["process"]), "no function"),
        ):
            with self.subTest(words=words), self.assertRaises(shoal.BadInput) as caught:
                LEPTON.process_data(*arguments)
            self.assertIn(words, str(caught.exception))
            self.assertTrue(caught.exception.hint)
        for users in (0, -1, 1.5):
            with self.subTest(users=users), self.assertRaises(shoal.BadInput):
                LEPTON.process_data(data, labels, [LEPTON.process], users=users)  # type: ignore[arg-type]
        self.assertEqual(len(LEPTON.report().steps), before)

    def test_fewer_rows_than_users_are_still_rows(self) -> None:
        results = LEPTON.process_data(rows(3, 2), [0, 1, 1], [LEPTON.process, LEPTON.compute])

        self.assertEqual([user.rows for user in results], [(0, 1), (1, 2), (2, 3)])

    def test_a_mesh_that_cannot_be_is_refused(self) -> None:
        for cloud, edge in ((0, 0), (-1, 2), ("3", 2)):
            with self.subTest(cloud=cloud), self.assertRaises(shoal.BadInput):
                LeptonAI(cloud, edge)  # type: ignore[arg-type]
        with self.assertRaises(shoal.BadInput):
            LeptonAI(mesh=LEPTON.mesh, missing="guess")


class Joining(unittest.TestCase):
    def test_a_mesh_is_joined_by_its_directory_a_socket_or_sockets(self) -> None:
        view = LEPTON.mesh.view
        assert view is not None
        apis = [peer.api for peer in LEPTON.mesh.peers]
        for where in (view.dir, Path(view.dir), apis[3], list(reversed(apis))):
            with self.subTest(where=where), LeptonAI(3, 2, mesh=where) as joined:
                self.assertEqual([name[:5] for name in joined.nodes], ["cloud"] * 3 + ["edge-"] * 2)
                joined.process(rows(3, 2), 0)
                self.assertEqual(joined.report().steps[-1].node, joined.nodes[0])
                joined.transfer(rows(3, 2), 1)
        with LeptonAI(mesh=LEPTON.mesh) as joined:
            joined.process(rows(3, 2), 0)
        with self.assertRaises(shoal.BadInput):
            LeptonAI(4, 2, mesh=LEPTON.mesh)
        # Joined meshes are left running.
        self.assertEqual(LEPTON.mesh.client("edge-1").status().me.name, "edge-1")
        with self.assertRaises(shoal.BadInput) as caught:
            LeptonAI(4, 2, mesh=view.dir)
        self.assertIn("3 cloud nodes, not 4", str(caught.exception))
        for nowhere in ("/tmp", []):
            with self.assertRaises(shoal.BadInput):
                LeptonAI(mesh=nowhere)


@unittest.skipUnless(sys.platform == "linux", "looks into /proc")
class Losing(unittest.TestCase):
    """A node is killed between the mesh's choice and the step."""

    def setUp(self) -> None:
        self.lepton = LeptonAI(1, 2, loopback=True, options={"retries": 0})
        self.addCleanup(self.lepton.close)
        assert self.lepton.mesh.pid is not None
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid, _ in support.tree(self.lepton.mesh.pid)}
        # The daemon itself: its workers have other arguments.
        self.cloud = [pid for pid, line in lines.items() if b"cloud-1/shoald.toml" in line]

    def kill_cloud(self) -> None:
        while self.cloud:
            os.kill(self.cloud.pop(), signal.SIGKILL)

    def test_a_step_for_which_the_mesh_chose_a_node_that_died_runs_elsewhere(self) -> None:
        lepton = self.lepton
        data, labels = learnable(40)

        def process(rows: Any, node: Any) -> Any:
            self.kill_cloud()
            return lepton.process(rows, node)

        def transfer(rows: Any, node: Any) -> Any:
            return lepton.transfer(rows, node)

        with unittest.mock.patch.object(lepton, "_decide", lambda kind, rows: 0):
            results = lepton.process_data(data, labels, [process, transfer, lepton.compute], users=1)

        self.assertEqual(results[0].nodes, (0, 0, 0))
        self.assertNotIn("cloud-1", {step.node for step in lepton.report().steps})
        self.assertEqual(len(results.predictions), 40)

    def test_a_node_that_was_asked_for_and_died_is_an_error(self) -> None:
        self.kill_cloud()

        with self.assertRaises(shoal.ShoalError) as caught:
            self.lepton.process(rows(5, 2), 0)

        self.assertTrue(caught.exception.hint)


class Reporting(unittest.TestCase):
    def test_a_report_has_costs_places_delays_and_bytes(self) -> None:
        lepton = LeptonAI(mesh=LEPTON.mesh)
        data, labels = learnable()
        results = lepton.process_data(data, labels, [lepton.process, lepton.transfer, lepton.compute])

        report = lepton.report()

        self.assertEqual(len(report.steps), 15)
        cost = report.cost
        self.assertAlmostEqual(cost["total"], sum(cost[term] for term in ("loss", "wait", "transfer", "compute")))
        self.assertGreater(cost["compute"], 0)
        self.assertEqual([sum(nodes.values()) for nodes in report.placement.values()], [5, 5, 5])
        self.assertGreater(report.delays["compute"]["run"], 0)
        self.assertEqual(report.bytes["raw"], sum(16 + 60 * 3 * 8 + 60 for _ in range(5)))
        self.assertGreater(report.bytes["saved_percent"], 60)
        self.assertEqual((report.f["all"], len(report.f["users"])), (results.loss, 5))
        json.dumps(report.as_dict())
        self.assertIn("mean log loss", str(report))
        self.assertIn("% saved", str(report))

    def test_users_may_go_side_by_side_or_one_by_one(self) -> None:
        data, labels = learnable(100)
        # Passes only if five are there at once.
        meeting = threading.Barrier(5)
        at_once = threading.Lock()

        def together(data: Any, node: Any) -> Any:
            meeting.wait(support.LONG)
            return LEPTON.process(data, node)

        def alone(data: Any, node: Any) -> Any:
            self.assertTrue(at_once.acquire(blocking=False))
            found = LEPTON.process(data, node)
            at_once.release()
            return found

        side_by_side = LEPTON.process_data(data, labels, [together, LEPTON.compute])
        one_by_one = LEPTON.process_data(data, labels, [alone, LEPTON.compute], concurrency=1)

        self.assertEqual(side_by_side.predictions, one_by_one.predictions)


if __name__ == "__main__":
    unittest.main()
