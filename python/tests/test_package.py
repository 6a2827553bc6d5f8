"""The package can be built and installed without a network, is typed, and its examples are true."""

import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from support import PYTHON


class Package(unittest.TestCase):
    def test_a_wheel_is_whole_and_the_same_every_time(self) -> None:
        sys.path.insert(0, str(PYTHON))
        import shoal_build

        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            wheel = Path(first) / shoal_build.build_wheel(first)
            again = Path(second) / shoal_build.build_wheel(second)
            self.assertEqual(wheel.read_bytes(), again.read_bytes())
            installed = Path(first) / "installed"
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
                archive.extractall(installed)
            for name in ("shoal/py.typed", "shoal/aio.pyi", "shoal/modules/wordcount.wasm", "shoal/modules/BLAKE3SUMS"):
                self.assertIn(name, names)
            said = subprocess.run(
                [sys.executable, "-c", "import shoal; print(shoal.bundled(), shoal.__file__)"],
                cwd=first,
                env={"PYTHONPATH": str(installed)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            self.assertIn("'standardise'", said)
            self.assertIn(str(installed), said)
            self.assertTrue((Path(first) / shoal_build.build_sdist(first)).stat().st_size > 100_000)

    def test_the_versions_agree(self) -> None:
        import shoal
        import shoal_build

        self.assertEqual(shoal.__version__, shoal_build._metadata()[0])

    def test_type_checkers_are_told_the_truth_about_the_asynchronous_client(self) -> None:
        check = [sys.executable, str(PYTHON / "tools" / "stubs.py"), "--check"]
        self.assertEqual(subprocess.run(check, capture_output=True, text=True).stderr, "")

    def test_every_public_method_has_a_docstring_and_both_clients_have_it(self) -> None:
        import shoal

        for name in dir(shoal.Client):
            if not name.startswith("_"):
                with self.subTest(name=name):
                    self.assertTrue(getattr(shoal.Client, name).__doc__)
                    self.assertTrue(hasattr(shoal.AsyncClient, name))

    def test_nothing_but_the_standard_library_is_imported(self) -> None:
        script = (
            "import sys; before = set(sys.modules); import shoal, shoal.compat\n"
            "found = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'shoal'}\n"
            "print(sorted(found))"
        )
        if not hasattr(sys, "stdlib_module_names"):
            self.skipTest("this Python does not list its standard library")
        said = subprocess.run([sys.executable, "-c", script], cwd=PYTHON, capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "[]\n")


if __name__ == "__main__":
    unittest.main()
