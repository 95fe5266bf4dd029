"""A shop that does not exist and the visitors it would have: see simulator.py."""
