"""The rule of the live set, written down as it reads, and how many that makes at a moment.

In: what was delivered, with the moment of its receipt. Out: three numbers, and those of a page.
Nothing here is the product's: it is what the product is held against.
"""

from dataclasses import dataclass, field

STATES = ("hidden", "visible", "engaged")
NUMBERS = ("open", "active", "engaged")


@dataclass
class Plainly:
    """An entry for each tab, until it expires: receipt + 2 x min(next_ms, 60 s) + 2 s. A page
    view is a beat of a visible page, the next of which is due in 15 s; it makes nobody less
    engaged, and nobody engaged for longer than her ping said."""

    tabs: dict[tuple[int, int], tuple[int, str, str]] = field(default_factory=dict)
    behind: dict[tuple[int, int], int] = field(default_factory=dict)  # engaged; visible until then

    def ping(self, now: int, who: int, tab: int, state: str, next_ms: int, page: str) -> None:
        self.behind.pop((who, tab), None)
        if state == "gone":
            self.tabs.pop((who, tab), None)
        else:
            self.tabs[who, tab] = (now + 2 * min(next_ms, 60_000) + 2_000, state, page)

    def view(self, now: int, who: int, tab: int, page: str) -> None:
        expiry, state, _ = self.shown(now).get((who, tab), (0, "visible", ""))
        until = now + 2 * 15_000 + 2_000
        if state == "engaged":
            self.tabs[who, tab] = (expiry, state, page)
            self.behind[who, tab] = max(until, self.behind.get((who, tab), 0))
        else:
            self.tabs[who, tab] = (max(until, expiry), state, page)
            self.behind.pop((who, tab), None)

    def shown(self, now: int) -> dict[tuple[int, int], tuple[int, str, str]]:
        """Expiry, state and page of the tabs that are there."""
        found = dict(self.tabs)
        for tab, until in self.behind.items():
            if self.tabs[tab][0] <= now:
                found[tab] = (until, "visible", self.tabs[tab][2])
        return {tab: entry for tab, entry in found.items() if entry[0] > now}

    def best(self, now: int) -> dict[int, tuple[int, str]]:
        """Visitor -> rank and page of her most active tab; of equal ones the last page by name
        (the product takes a longer one first, so pages that are compared are equally long)."""
        best: dict[int, tuple[int, str]] = {}
        for (who, _), (_, state, shown) in self.shown(now).items():
            best[who] = max(best.get(who, (-1, "")), (STATES.index(state), shown))
        return best

    def numbers(self, now: int, page: str = "") -> dict[str, int]:
        ranks = [rank for rank, shown in self.best(now).values() if not page or shown == page]
        return {name: sum(rank >= least for rank in ranks) for least, name in enumerate(NUMBERS)}

    def pages(self, now: int) -> dict[str, dict[str, int]]:
        """The numbers of every page that somebody shows."""
        found: dict[str, dict[str, int]] = {}
        for rank, shown in self.best(now).values():
            numbers = found.setdefault(shown, dict.fromkeys(NUMBERS, 0))
            for least, name in enumerate(NUMBERS):
                numbers[name] += rank >= least
        return found
