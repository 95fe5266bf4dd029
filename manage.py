#!/usr/bin/env python
"""Django's command line. While `make run` runs, commands find its servers by themselves."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aktivat.settings")
    from aktivat.servers import environment

    default_home = Path(__file__).resolve().parent / "var"
    environment.adopt(Path(os.environ.get("AKTIVAT_HOME") or default_home))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
