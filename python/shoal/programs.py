"""Where Shoal's programs are: in ``SHOAL_BIN`` (a directory, or one of the programs in it), on the search path, or in
this checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import ProgramMissing

#: Where a checkout is built, for the package that lies in it.
BUILT = Path(__file__).resolve().parent.parent.parent / "target" / "release"


def program(name: str) -> Path:
    """The path of ``shoald``, ``shoal`` or ``shoal-testnet``.

    >>> program("shoald")
    PosixPath('/usr/local/bin/shoald')
    """
    given = os.environ.get("SHOAL_BIN", "")
    if given:
        place = Path(given).absolute()
        path = (place.parent if place.is_file() else place) / name
        if path.is_file() and os.access(path, os.X_OK):
            return path
        raise ProgramMissing(
            f"there is no {name} in SHOAL_BIN",
            detail=f"{path} is no program",
            hint="set SHOAL_BIN to the directory that holds it",
        )
    found = shutil.which(name) or shutil.which(name, path=str(BUILT))
    if found is None:
        raise ProgramMissing(
            f"{name} was not found",
            detail="it is not on PATH, and SHOAL_BIN is not set",
            hint="build it with `cargo build --release --locked`, and set SHOAL_BIN to target/release where it is elsewhere",
        )
    return Path(found).absolute()
