"""What the commands share: finding what they name, and how they answer.

With `--json` a command prints one JSON object and nothing else; without, a sentence.
"""

import argparse
import json
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import Account


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def say(command: BaseCommand, options: dict[str, Any], answer: dict[str, Any], words: str) -> None:
    command.stdout.write(json.dumps(answer) if options["json"] else words)


def find_account(slug: str) -> Account:
    """The account, or an error that says how to make it."""
    account = Account.objects.filter(slug=slug).first()
    if account is None:
        raise CommandError(
            f"There is no account {slug!r}. Make it: manage.py create_account {slug} --owner EMAIL"
        )
    return account


def public_url() -> str:
    """Where browsers reach this installation: PUBLIC_URL, else where the web server listens."""
    bind = os.environ.get("BIND") or "127.0.0.1"
    host = "127.0.0.1" if bind in ("0.0.0.0", "::") else bind  # noqa: S104  compared, not bound
    return settings.PUBLIC_URL or f"http://{host}:{os.environ.get('PORT') or 8000}"
