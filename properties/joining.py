"""Who belongs to an account: opening one, joining one. Called by pages and commands."""

from django.db import transaction
from django.http import HttpRequest

from accounts.audit import record
from accounts.models import Account, Membership, User
from properties.models import Grant


@transaction.atomic
def open_account(slug: str, name: str, owner: User, request: HttpRequest | None = None) -> Account:
    """A new account and its owner; IntegrityError when the slug is taken."""
    account = Account.objects.create(slug=slug, name=name)
    join(account, owner, "owner")
    new = {"slug": slug, "name": name, "owner": owner.email}
    record(account, "account.created", request=request, target=name, new=new)
    return account


@transaction.atomic
def join(account: Account, user: User, role: str) -> Membership:
    """Make the user a member with the grants of that role; her former grants are replaced."""
    membership, _ = Membership.objects.update_or_create(
        account=account, user=user, defaults={"role": role}
    )
    Grant.from_role(membership)
    return membership
