"""`make memory`: what a million visitors and a million events a day take in Valkey and Postgres.

Events go the real way into a Valkey of its own (tracking.store.accept, the real scripts), for
simulated days (traffic.py) during which the server's clock moves as well (passing.py). Weighed key
by key (families.py), beside what plain bitmaps would take (plain.py) and what a day becomes in
Postgres (stored.py). __main__.py has the parts in their order, and the budget.
"""
