"""How long a test may wait, and the one place where a test waits."""
import os
import threading
import time

import pytest

# Sanitizers make everything slower; what a test measures against the clock is stretched by this.
STRETCH = {"asan": 3, "tsan": 6}.get(os.environ.get("TRUNKLINE_KIND", ""), 1)
PATIENCE = 15 * STRETCH

_bell = threading.Event()


class Hopeless(AssertionError):
    """What is waited for can't happen any more."""


def eventually(condition, timeout=PATIENCE, every=0.02):
    """Asks until the answer is true and returns it; fails when the time is over.

    A condition that raises AssertionError, or in which pytest.raises() finds nothing raised, is asked
    again; its last complaint is told at the end.
    """
    end = time.monotonic() + timeout
    complaint = None
    while True:
        try:
            answer = condition()
            if answer:
                return answer
            complaint = f"still {answer!r}"
        except Hopeless:
            raise
        except (AssertionError, pytest.fail.Exception) as error:
            complaint = str(error)
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {complaint}")
        _bell.wait(every)


def seconds(action):
    """How long a call takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start
