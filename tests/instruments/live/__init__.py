"""Who is here now, tried: against a simulated truth in process and over HTTP, and with 100,000
online. `python -m tests.instruments.live`, or `make live`; tests use the simulation, too."""
