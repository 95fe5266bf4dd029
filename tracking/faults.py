"""Places where tests make a worker die: AKTIVAT_FAULT="point:action", only in AKTIVAT_ENV=test.

In: the name of a point. Out: nothing, or the death of this process. Actions: `kill` (SIGKILL, as
an OOM killer would) and `exit`. Called where dying would do the most harm.
"""

import os
import signal

from django.conf import settings


def point(name: str) -> None:
    """Die here if the environment asks for it."""
    if settings.ENV != "test":
        return
    wanted, _, action = os.environ.get("AKTIVAT_FAULT", "").partition(":")
    if wanted != name:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)
