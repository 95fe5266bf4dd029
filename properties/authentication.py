"""Who calls the API: `Authorization: Bearer ak_...`, or the session of the browser (with CSRF)."""

from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from accounts.addresses import address_of
from accounts.audit import fewer_than, first_in, record
from accounts.models import User
from properties.models import ApiKey

USED_EVERY = 60  # seconds between two writes of `last_used`
DAY = 24 * 3600  # seconds
MOST_ADDRESSES = 100  # a day, of which the audit log tells for one key


class KeyInAddress(exceptions.APIException):
    """400: what stands in an address stands in logs and histories, too."""

    status_code = 400
    default_code = "key_in_address"
    default_detail = (
        "Send the key in the header Authorization: Bearer ak_... This one now stands in logs: "
        "revoke it and make a new one."
    )

    def __init__(self, field: str) -> None:
        super().__init__()
        self.field = field[:60]


def key_of(authorization: str, address: str = "") -> ApiKey | None:
    """The usable key named by an Authorization header; None when the header names none.

    Looked up by the digest of what was sent, so that no time tells how much of a guess was right;
    asked of Postgres each time, so that a revoked key is refused at once in every process.

    Raises AuthenticationFailed for a key that is unknown, revoked or expired, without saying which.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    now = timezone.now()
    key = ApiKey.objects.across_accounts().filter(digest=ApiKey.digest_of(secret.strip())).first()
    if key is None or not key.is_usable(now):
        raise exceptions.AuthenticationFailed(
            "This API key is not valid. Make a new one in the account's settings."
        )
    if key.last_used is None or (now - key.last_used).total_seconds() > USED_EVERY:
        ApiKey.objects.across_accounts().filter(pk=key.pk).update(
            last_used=now, last_used_from=address or None
        )
    return key


def note_use(key: ApiKey, request: Request) -> None:
    """Tell the audit log of the key's first use in a day, and of its first from an address."""
    day, address = timezone.now().date(), address_of(request)
    if first_in(DAY, "key", key.pk, day, address) is None:
        return
    if fewer_than(MOST_ADDRESSES, DAY, "key", key.pk, day):
        record(key.account_id, "api_key.used", actor=key, request=request)


def refuse_in_address(request: Request) -> None:
    """Raise KeyInAddress for a key in the query string, whoever sends which header beside it."""
    for name, values in request.query_params.lists():
        if any(value.startswith(("ak_", "Bearer ak_")) for value in values):
            raise KeyInAddress(name)


class ApiKeyAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        refuse_in_address(request)
        key = key_of(request.headers.get("Authorization", ""), address_of(request))
        if key is None:
            return None
        note_use(key, request)
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class SessionAuthentication(authentication.SessionAuthentication):
    def authenticate(self, request: Request) -> tuple[User, None] | None:  # type: ignore[override]
        return super().authenticate(request)  # type: ignore[return-value]
