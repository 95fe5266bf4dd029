"""`make chaos`: the product under load while everything under it breaks, and then the count.

Real servers and programs of one temporary home, several client processes that retry whatever is
ambiguous, faults drawn from a seed, a checker in the style of Jepsen's set test, and controls
that must fail it. `python -m tests.instruments.chaos` with MINUTES=, SEED=, CASE= (see
__main__.py); docs/reliability.md holds what it measured.
"""
