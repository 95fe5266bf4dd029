"""The rule of the live set, written down as it reads, and how many that makes at a moment.

In: what was delivered, with the moment of its receipt. Out: three numbers, and those of a page.
Nothing here is the product's: it is what the product is held against.
"""

from dataclasses import dataclass, field

STATES = ("hidden", "visible", "engaged")
NUMBERS = ("open", "active", "engaged")


@dataclass
class Plainly:
    """An entry for each tab, until it expires: receipt + 2 x min(next_ms, 60 s) + 2 s."""

    tabs: dict[tuple[int, int], tuple[int, str, str]] = field(default_factory=dict)

    def ping(self, now: int, who: int, tab: int, state: str, next_ms: int, page: str) -> None:
        if state == "gone":
            self.tabs.pop((who, tab), None)
        else:
            self.tabs[who, tab] = (now + 2 * min(next_ms, 60_000) + 2_000, state, page)

    def best(self, now: int) -> dict[int, tuple[int, str]]:
        """Visitor -> rank and page of her most active tab; of equal ones the last page by name
        (the product takes a longer one first, so pages that are compared are equally long)."""
        best: dict[int, tuple[int, str]] = {}
        for (who, _), (expiry, state, shown) in self.tabs.items():
            if expiry > now:
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
