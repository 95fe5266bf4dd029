"""Instruments: commands that measure or try the running product, `python -m tests.instruments.X`.

Each starts servers of its own on loopback, prints one table, stops what it started, and ends with
another exit code than 0 when what it asserts does not hold. Nothing here is timed by a test.
"""
