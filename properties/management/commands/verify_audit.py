"""`manage.py verify_audit [ACCOUNT]`: was an audit log changed behind our back?"""

import argparse
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import audit_chain
from accounts.models import Account
from properties.management.answers import add_json


class Command(BaseCommand):
    help = (
        "Check the chain of hashes of one account's audit log, or of all. Exit 1 when an entry "
        "was changed or is missing. Keep the head that this prints somewhere else: with --head "
        "the next check also tells whether the end was cut off."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "account", nargs="?", help="its short name, or its number when it is deleted"
        )
        parser.add_argument("--head", default="", help="NUMBER:HASH of an earlier check")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        head = options["head"]
        if head and not options["account"]:
            raise CommandError("A head belongs to one account: name it.")
        try:
            found = [
                {"account": name, **vars(audit_chain.check(number, head))}
                for number, name in _named(options["account"])
            ]
        except ValueError as error:
            raise CommandError("Write the head as an earlier check printed it.") from error
        if options["json"]:
            self.stdout.write(json.dumps({"accounts": found}))
        else:
            self._tell(found)
        if any(chain["broken"] for chain in found):
            sys.exit(1)

    def _tell(self, found: list[dict[str, Any]]) -> None:
        for chain in found:
            if chain["broken"]:
                numbers = ", ".join(map(str, chain["broken"][:20]))
                verdict = f"changed, or something missing before: {numbers}"
            else:
                verdict = "whole"
            self.stdout.write(
                f"{chain['account']}: {chain['entries']} entries, {verdict}. Head {chain['head']}"
            )
        if not found:
            self.stdout.write("No account has an audit log yet.")


def _named(account: str | None) -> list[tuple[int, str]]:
    """(id, name) of the logs to check."""
    if account is None:
        slugs = dict(Account.objects.values_list("pk", "slug"))
        return [
            (number, slugs.get(number, f"{number}"))
            for number in audit_chain.accounts_with_entries()
        ]
    known = Account.objects.filter(slug=account).first()
    if known is not None:
        return [(known.pk, known.slug)]
    if account.isdigit():
        return [(int(account), account)]
    raise CommandError(f"There is no account {account!r}.")
