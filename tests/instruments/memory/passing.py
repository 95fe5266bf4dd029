"""Simulated time for the server: its clock cannot be moved, so the ends of all keys come nearer.

In: how much time has passed. Every key that has an end loses so much of what it has left, and the
server itself drops those that have none left. Called between simulated hours: a key never lives
shorter than it would, and at most an hour longer.
"""

from typing import Any

from tests.instruments.memory.pieces import batched

AT_ONCE = 2_000
BRING_NEARER = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
"""


def pass_time(client: Any, ms: int) -> None:
    bring_nearer = client.register_script(BRING_NEARER)
    for some in batched(all_keys(client), AT_ONCE):
        bring_nearer(keys=some, args=[ms])


def all_keys(client: Any) -> set[bytes]:
    """A set: SCAN may name a key twice, which then would lose twice as much."""
    return set(client.scan_iter(count=5_000))
