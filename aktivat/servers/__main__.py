"""`python -m aktivat.servers`: what `make run` runs."""

from aktivat.servers.supervisor import main

if __name__ == "__main__":
    main()
