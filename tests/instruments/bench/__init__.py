"""`make bench`: what collecting, draining, rolling up and asking cost, in one table.

Against the running product on servers of its own, beside yardsticks measured in the same run.
__main__.py has the parts in their order; each is a module that yields rows (table.py). The load
comes from a process of its own (load.py), CPU from /proc (../processes.py).
"""
