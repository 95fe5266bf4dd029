"""How many properties and members the plan of an account still allows.

Enters: an account, inside a transaction. Leaves: nothing, or a sentence why one more is too many.
Asked before a property is made and before somebody is invited; what is there already stays, also
when a plan becomes smaller.
"""

from datetime import datetime

from accounts.models import Account, Membership
from accounts.plans import limits_of
from properties.models import Invitation, Property


def why_no_property(account: Account) -> str:
    """ "" while there is room. Two requests at once do not both find the last one."""
    limits = limits_of(account)
    if limits.properties is None:
        return ""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    if Property.objects.of(account).count() < limits.properties:
        return ""
    return _full(limits.plan, limits.properties, "property", "properties")


def why_no_member(account: Account, now: datetime) -> str:
    """ "" while there is room; open invitations count. The caller has locked the account's row."""
    limits = limits_of(account)
    if limits.members is None:
        return ""
    members = Membership.objects.filter(account=account).count()
    open_ones = Invitation.objects.of(account).filter(accepted=None, revoked=None, expires__gt=now)
    if members + open_ones.count() < limits.members:
        return ""
    return _full(limits.plan, limits.members, "member", "members")


def _full(plan: str, most: int, one: str, many: str) -> str:
    held = f"{most} {one if most == 1 else many}"
    return f"The plan {plan} holds {held}. Ask whoever runs this installation for a larger one."
