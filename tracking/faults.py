"""Places where tests make a worker die: AKTIVAT_FAULT, only in AKTIVAT_ENV=test.

In: the name of a point. Out: nothing, or the death of this process. AKTIVAT_FAULT is a list of
`point:action` or `point:action:probability`, separated by commas. Actions: `kill` (SIGKILL, as an
OOM killer would) and `exit`. Called where dying would do the most harm.
"""

import os
import random
import signal

from django.conf import settings


def point(name: str) -> None:
    """Die here if the environment asks for it."""
    if settings.ENV != "test":
        return
    for wanted in os.environ.get("AKTIVAT_FAULT", "").split(","):
        place, _, rest = wanted.partition(":")
        if place != name:
            continue
        action, _, probability = rest.partition(":")
        if probability and random.random() >= float(probability):  # noqa: S311  dice of a test
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)
