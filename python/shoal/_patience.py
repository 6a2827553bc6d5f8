"""Trying again when a peer says that it has too much to do; the rules are those of `shoal run`.

**Invariant:** only a refusal that says so is tried again: nothing of the request was taken on. Waits grow, and are
spread at random, so that the refused do not all come back at one moment.
"""

from __future__ import annotations

import random
import time
from typing import Callable, Optional

from .errors import Overloaded, ShoalError

#: The wait where the peer names none, in seconds.
WAIT = 0.2
#: No single wait is longer.
WAIT_MAX = 30.0
#: The sixth wait is already the longest that most peers ask for.
DOUBLINGS_MAX = 6


class Patience:
    """How much longer, and how often so far."""

    def __init__(self, seconds: float, chance: Callable[[], float] = random.random) -> None:
        self._deadline = time.monotonic() + seconds
        self._tries = 0
        self._chance = chance

    def wait(self, error: ShoalError) -> Optional[float]:
        """Seconds to wait before another try after this error; nothing if it does not pass, or patience ends before."""
        if not (isinstance(error, Overloaded) and error.retryable):
            return None
        asked = WAIT if error.retry_after is None else error.retry_after
        seconds = spread(asked, self._tries, self._chance())
        if time.monotonic() + seconds >= self._deadline:
            return None
        self._tries += 1
        return seconds


def spread(asked: float, tries: int, chance: float) -> float:
    """At least what was asked for, at most that much again for each doubling; chance is from 0 to 1."""
    room = min(asked * 2.0 ** min(tries, DOUBLINGS_MAX), WAIT_MAX)
    return min(min(asked, WAIT_MAX) + room * chance, WAIT_MAX)
