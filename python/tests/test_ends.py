"""Nothing of a mesh outlives the program that started it, however that ends."""

import os
import signal
import subprocess
import sys
import unittest
from typing import Set

from support import LONG, PYTHON, Process, alive, tree, wait_until

PROGRAM = """
import signal, sys, time
# Whoever runs the tests in the background has it ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from shoal.compat import LeptonAI
lepton = LeptonAI(1, 1, loopback=sys.argv[1] == "loopback")
print(lepton.mesh.pid, lepton.mesh.view.dir, flush=True)
"""


@unittest.skipUnless(sys.platform == "linux", "looks into /proc")
class Ends(unittest.TestCase):
    def start(self, then: str, network: str = "loopback") -> None:
        """Starts a program with a mesh, and notes the mesh's processes once they are there."""
        environment = {**os.environ, "PYTHONPATH": str(PYTHON)}
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + then, network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.addCleanup(self.tidy)
        assert self.program.stdout is not None
        line = self.program.stdout.readline().split()
        if not line:
            self.fail(self.program.communicate()[1])
        self.mesh: Set[Process] = tree(int(line[0]))
        self.tool = {process for process in self.mesh if process[0] == int(line[0])}
        self.dir = line[1]
        # The tool and at least two daemons.
        self.assertGreaterEqual(len(self.mesh), 3)

    def tidy(self) -> None:
        self.program.kill()
        self.program.communicate()

    def go_on(self) -> str:
        """Lets the program go on, waits for its end, and returns what it said on standard error."""
        _, said = self.program.communicate("\n", timeout=LONG)
        return said

    def check_nothing_is_left(self) -> None:
        wait_until("all processes of the mesh have ended", lambda: not alive(self.mesh))
        wait_until("its directory is gone", lambda: not os.path.exists(self.dir))

    def test_at_the_end_of_the_program(self) -> None:
        self.start("input()")
        self.assertEqual(alive(self.mesh), self.mesh)

        self.go_on()

        self.assertEqual(self.program.returncode, 0)
        # Ended before the program did, not some time after.
        self.assertEqual(alive(self.tool), set())
        self.check_nothing_is_left()

    def test_at_the_end_of_a_with_block(self) -> None:
        self.start("input()\nwith lepton: pass\nprint('closed', flush=True)\ntime.sleep(600)")
        assert self.program.stdin is not None and self.program.stdout is not None
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        self.assertEqual(self.program.stdout.readline(), "closed\n")

        self.assertEqual(alive(self.tool), set())
        self.check_nothing_is_left()

    def test_after_an_exception(self) -> None:
        self.start("input()\nraise RuntimeError('no')")

        self.assertIn("RuntimeError: no", self.go_on())

        self.assertEqual(alive(self.tool), set())
        self.check_nothing_is_left()

    def test_after_ctrl_c(self) -> None:
        self.start("time.sleep(600)")
        # When the sleep begins cannot be seen from here; a signal before it ends the program the same way.
        self.program.send_signal(signal.SIGINT)

        self.assertIn("KeyboardInterrupt", self.program.communicate(timeout=LONG)[1])

        self.assertEqual(alive(self.tool), set())
        self.check_nothing_is_left()

    def test_after_sigterm_and_kill_9(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number=number):
                self.start("time.sleep(600)")

                self.program.send_signal(number)

                self.program.wait(LONG)
                self.check_nothing_is_left()

    def test_kill_9_while_the_mesh_works(self) -> None:
        self.start(
            "import threading\n"
            "client = lepton.mesh.client(1)\n"
            "threading.Thread(target=lambda: client.run('spin', args=[10**13], timeout=300), daemon=True).start()\n"
            "while not client.status().tasks.running: time.sleep(0.01)\n"
            "print('running', flush=True)\n"
            "time.sleep(600)",
            network="emulated, where this machine allows it",
        )
        assert self.program.stdout is not None
        self.assertEqual(self.program.stdout.readline(), "running\n")
        # With the worker processes.
        self.mesh |= {process for pid, _ in self.mesh for process in tree(pid)}

        self.program.kill()

        self.program.wait(LONG)
        self.check_nothing_is_left()

    def test_a_mesh_started_by_a_thread_lives_when_that_has_ended(self) -> None:
        self.start(
            "import threading\n"
            "started = []\n"
            "thread = threading.Thread(target=lambda: started.append(LeptonAI(1, 0, loopback=True)))\n"
            "thread.start(); thread.join(); time.sleep(0.3)\n"
            "print(started[0].mesh.client(0).status().me.name, flush=True)\n"
        )
        out, _ = self.program.communicate(timeout=LONG)

        self.assertEqual(out, "cloud-1\n")
        self.check_nothing_is_left()

    def test_a_forked_child_does_not_end_its_parents_mesh(self) -> None:
        self.start(
            "import os\n"
            "child = os.fork()\n"
            "if child == 0: sys.exit(0)\n"
            "os.waitpid(child, 0)\n"
            "print(lepton.mesh.client(1).status().me.name, flush=True)\n"
        )
        out, _ = self.program.communicate(timeout=LONG)

        self.assertEqual(out, "edge-1\n")
        self.check_nothing_is_left()


class NotStarting(unittest.TestCase):
    def test_programs_that_are_not_there_are_named(self) -> None:
        from unittest import mock

        import shoal

        with mock.patch.dict(os.environ, {"SHOAL_BIN": "/nowhere"}), self.assertRaises(shoal.ProgramMissing) as caught:
            shoal.Mesh.start(1, 1)
        self.assertIn("/nowhere/shoal-testnet", str(caught.exception))
        nowhere = {"SHOAL_BIN": "", "PATH": "/nowhere"}
        with mock.patch.dict(os.environ, nowhere), mock.patch("shoal.programs.BUILT", "/nowhere"):
            with self.assertRaises(shoal.ProgramMissing):
                shoal.Mesh.start(1, 1)

    def test_a_tool_that_fails_is_quoted(self) -> None:
        import shoal

        # The directory is a file.
        with self.assertRaises(shoal.MeshNotStarted) as caught:
            shoal.Mesh.start(1, 1, dir=__file__)
        self.assertTrue(caught.exception.detail)


if __name__ == "__main__":
    unittest.main()
