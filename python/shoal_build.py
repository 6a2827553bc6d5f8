"""Builds this package (PEP 517, PEP 660) with the standard library alone, so that `pip install ./python` needs no
network.

Setuptools would do, were it always there: new environments come without it, and fetching it would need an index.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

HERE = Path(__file__).parent
NAME = "shoal"
#: What belongs to the package; `modules` is a link to the examples in a checkout.
PARTS = ("*.py", "*.pyi", "py.typed", "modules/*.wasm", "modules/BLAKE3SUMS")
#: A wheel of the same files has the same bytes.
DATE = (2020, 1, 1, 0, 0, 0)


def _setting(name: str) -> str:
    # Python 3.9 has no reader of TOML, and two lines need none.
    match = re.search(rf'^{name} = "(.*)"$', (HERE / "pyproject.toml").read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"pyproject.toml does not set {name}")
    return match[1]


def _metadata() -> Tuple[str, str, str]:
    version = _setting("version")
    description = (HERE / "README.md").read_text()
    metadata = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\nSummary: {_setting('description')}\n"
        f"Requires-Python: {_setting('requires-python')}\nLicense: {_setting('license')}\n"
        f"Description-Content-Type: text/markdown\n\n{description}"
    )
    wheel = "Wheel-Version: 1.0\nGenerator: shoal_build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return version, metadata, wheel


def _files() -> Iterator[Tuple[str, bytes]]:
    package = HERE / NAME
    for part in PARTS:
        for path in sorted(package.glob(part)):
            yield f"{NAME}/{path.relative_to(package).as_posix()}", path.read_bytes()


def _wheel(directory: str, files: Iterator[Tuple[str, bytes]]) -> str:
    version, metadata, wheel = _metadata()
    info = f"{NAME}-{version}.dist-info"
    content: Dict[str, bytes] = dict(files)
    content[f"{info}/METADATA"] = metadata.encode()
    content[f"{info}/WHEEL"] = wheel.encode()
    record = []
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(data)}\n")
    record.append(f"{info}/RECORD,,\n")
    content[f"{info}/RECORD"] = "".join(record).encode()
    file_name = f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory) / file_name, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return file_name


def build_wheel(
    wheel_directory: str, config_settings: Optional[dict] = None, metadata_directory: Optional[str] = None
) -> str:
    return _wheel(wheel_directory, _files())


def build_editable(
    wheel_directory: str, config_settings: Optional[dict] = None, metadata_directory: Optional[str] = None
) -> str:
    return _wheel(wheel_directory, iter([(f"{NAME}.pth", f"{HERE}\n".encode())]))


def build_sdist(sdist_directory: str, config_settings: Optional[dict] = None) -> str:
    version, metadata, _ = _metadata()
    base = f"{NAME}-{version}"
    content = {f"{base}/{name}": data for name, data in _files()}
    for name in ("pyproject.toml", "README.md", "shoal_build.py"):
        content[f"{base}/{name}"] = (HERE / name).read_bytes()
    content[f"{base}/PKG-INFO"] = metadata.encode()
    file_name = f"{base}.tar.gz"
    with tarfile.open(Path(sdist_directory) / file_name, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file_name
