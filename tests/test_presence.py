"""Who is here now, against a simulated truth: at every second, of every page, without an error."""

from random import Random

import pytest

from tests.instruments.live import exact, visitors
from tests.people import new_property


@pytest.mark.parametrize("seed", [1, 2])
def test_every_second_is_that_of_the_rule(seed: int) -> None:
    place, most = new_property(), 0
    for second, found, true in exact.seconds(place, Random(seed), 30, 60_000):
        assert found == true, f"at second {second // 1_000}"
        most = max(most, true[""]["open"])
    assert most > 10, "the simulation had somebody in it"
    assert true == {"": dict.fromkeys(("open", "active", "engaged"), 0)}, "and all of them left"


def test_the_simulation_has_everybody_in_it() -> None:
    """Or the test above would prove less than it says."""
    found = visitors.pings(Random(1), 200, 120_000)
    tabs: dict[int, set[int]] = {}
    for ping in found:
        tabs.setdefault(ping.who, set()).add(ping.tab)
    assert {ping.state for ping in found} == {"engaged", "visible", "hidden", "gone"}
    assert max(map(len, tabs.values())) == 5
    assert {ping.next_ms for ping in found} == {0, 5_000, 15_000, 60_000}
    assert any(ping.received is None for ping in found)
    assert any(ping.clock for ping in found)
    late = [ping for ping in found if ping.received and ping.received - ping.sent > 300]
    assert late
    received = [ping.received for ping in found if ping.received is not None]
    assert received == sorted(received)
    order = [ping.sent for ping in found if ping.received is not None]
    assert order != sorted(order), "some overtake others on the way"
