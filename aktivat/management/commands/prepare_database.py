"""Make the database users that are missing, and say which variables to set."""

import json
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aktivat.servers import roles
from aktivat.servers.children import ServerError
from aktivat.servers.secrets import Secrets


class Command(BaseCommand):
    help = (
        "Try the three database users of DATABASE_URL, DATABASE_OWNER_URL and "
        "DATABASE_WORKER_URL; make web and worker where only an owner is given that may "
        "create users. Passwords are kept in AKTIVAT_HOME/secrets.json. Safe to repeat."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print the three URLs, passwords included"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        secrets = Secrets(settings.HOME / "secrets.json")
        try:
            urls = roles.complete(os.environ, secrets)
        except ServerError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(urls))
        elif all(os.environ.get(name) == url for name, url in urls.items()):
            self.stdout.write("The three database users are there.")
        else:
            self.stdout.write(
                f"The three database users are there; passwords are in {secrets.path}. "
                "Print the variables to set with --json."
            )
