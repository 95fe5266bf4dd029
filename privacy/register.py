"""What is stored where, and for how long: the processing record.

A table and nothing else: every field of every model and every key of Valkey, with what it tells of
people. The page *What is stored where* and docs/privacy.md show it; a test fails for a field or a
key that does not stand here, so that nobody adds one without having thought about it.
"""

from typing import NamedTuple

PERSONAL = "personal"  # names somebody, or may: an address, a name, what a user wrote
PSEUDONYMOUS = "pseudonymous"  # about one visitor or user, who is known by a number or an id only
NONE = "none"  # about nobody


class Place(NamedTuple):
    """A table, or keys of Valkey. Fields by what they tell; those that are left tell of nobody."""

    what: str
    kept: str
    personal: str = ""
    pseudonymous: str = ""
    none: str = ""

    def fields(self) -> dict[str, str]:
        """Field -> class."""
        by_class = {PERSONAL: self.personal, PSEUDONYMOUS: self.pseudonymous, NONE: self.none}
        return {name: kind for kind, names in by_class.items() for name in names.split()}


RAW = "as long as the property keeps raw events"
ACCOUNT = "until the account is deleted"
PROPERTY = "until the property is deleted"
LOGIN = "until the login is deleted"
WHERE_FROM = (
    "hostname referrer source medium campaign term content channel country device browser os"
    " language screen"
)

TABLES = {
    # -- visitors --
    "events": Place(
        "raw events", RAW,
        personal="user props title page query",
        pseudonymous=f"time received_at event_id visitor tab session {WHERE_FROM} browser_version"
        " name bot sanitized engaged_ms scroll load_ms revenue currency",
        none="account_id property_id",
    ),
    "sessions": Place(
        "visits, made from raw events", RAW,
        personal="entry_page exit_page",
        pseudonymous=f"visitor started_at ended_at bot pageviews events interactions engaged_ms"
        f" {WHERE_FROM}",
        none="account_id property_id",
    ),
    "visitors": Place(
        "a visitor's id and number", "13 months after the last event, and as long as raw events",
        pseudonymous="visitor number first_seen last_seen",
        none="account_id property_id",
    ),
    "persons": Place(
        "users, as they were imported or told of themselves", PROPERTY,
        personal="user traits",
        pseudonymous="signed_up told first_seen last_seen updated",
        none="account_id property_id",
    ),
    "event_ids": Place(
        "ids of stored events, so that a retry counts once", RAW,
        pseudonymous="event_id received_at fingerprint time",
        none="account_id property_id",
    ),
    "quarantined": Place(
        "events that could not be stored, as they came", RAW,
        personal="payload",
        pseudonymous="entry received_at reason",
        none="id account_id property_id",
    ),
    "conflicts": Place(
        "another payload under a known event id", RAW,
        personal="payload",
        pseudonymous="event_id received_at",
        none="id account_id property_id",
    ),
    "columns": Place(
        "raw events of closed days and hours, packed", RAW,
        personal="bits",
        none="account_id property_id grain starts_at name",
    ),
    "bitmaps": Place(
        "who (by number) was there in an hour or a day, by page, source, country ...", PROPERTY,
        pseudonymous="bits",
        none="account_id property_id grain starts_at dimension value",
    ),
    "rollups": Place(
        "sums by hour and day", PROPERTY,
        none="account_id property_id grain starts_at dimension value measure number",
    ),
    "concurrency": Place(
        "how many were online at once, by minute, hour and day, with pages and sources",
        "minutes 15 days, hours 400 days, days until the property is deleted",
        none="account_id property_id grain starts_at numbers pages sources",
    ),
    "erasures": Place(
        "who was erased: a digest; the id itself until it is done", PROPERTY,
        personal="target requested_by",
        pseudonymous="digest traces person created done_at",
        none="id account_id property_id kind state counts",
    ),
    # -- bookkeeping --
    "ledger": Place(
        "how many events were received and what became of them, by hour", ACCOUNT,
        none="account_id property_id hour accepted duplicate pings bots refused stored quarantined"
        " late_duplicate erased expired",
    ),
    "usage_notices": Place(
        "mails at 80 and 100 per cent of the plan", ACCOUNT,
        none="id account_id month percent used made tried sent",
    ),
    "sampled_hours": Place(
        "how often it was looked who is online, by minute", "for ever", none="hour rounds"
    ),
    "dirty_hours": Place(
        "hours to be counted again", "minutes", none="account_id property_id hour why marked_at"
    ),
    "rolled_hours": Place(
        "hours that were counted", PROPERTY,
        none="account_id property_id hour state origin started_at done_at",
    ),
    "rolled_zones": Place(
        "time zone in which was counted", PROPERTY,
        none="account_id property_id timezone days_listed",
    ),
    "segments": Place(
        "filters of reports with a name", ACCOUNT,
        personal="name filters",
        pseudonymous="made_by created changed",
        none="id account_id slug",
    ),
    "packed_days": Place(
        "days and hours that are packed", RAW,
        none="account_id property_id grain starts_at ends_at state changed_at props",
    ),
    "removals": Place(
        "properties and accounts that are being deleted", "minutes",
        none="id account_id property_id key timezone version created",
    ),
    "annotations": Place(
        "notes on the charts, by hand or by a deploy hook", PROPERTY,
        personal="text url",
        pseudonymous="made_by made_by_kind",
        none="id account_id property_id at kind created",
    ),
    # -- members and their rights --
    "accounts_user": Place(
        "who signs in", LOGIN,
        personal="email name password last_login created",
        none="id is_superuser is_staff is_active",
    ),
    "accounts_membership": Place(
        "who belongs to which account", "until she leaves",
        pseudonymous="user role created",
        none="id account",
    ),
    "accounts_supportsession": Place(
        "support that acted as a user", LOGIN,
        personal="reason",
        pseudonymous="staff user started ends ended",
        none="id may_write account_ids",
    ),
    "audit_entries": Place(
        "the audit log: who did what, from which address", "for ever: nobody can change it",
        personal="actor_name impersonator_name address user_agent target old new",
        pseudonymous="at actor_id impersonator_id request_id",
        none="account_id number action actor_kind property_id property_name hash",
    ),
    "accounts_account": Place(
        "accounts", ACCOUNT,
        none="id slug name plan allow_support quota_level quota_month created",
    ),
    "accounts_plan": Place(
        "what plans hold", "for ever",
        none="id name events_per_month overrun_percent max_properties max_members is_default",
    ),
    "properties_property": Place(
        "properties and their settings", PROPERTY,
        personal="excluded_addresses",
        none="id account key first_key name timezone currency hostnames privacy signals capture"
        " search_parameters strict_origin rate_limit session_gap_minutes retention_days"
        " visitor_limit version created first_event_at",
    ),
    "properties_retiredkey": Place(
        "public keys that were replaced", PROPERTY, none="id account property key until created"
    ),
    "properties_goal": Place(
        "goals", PROPERTY, none="id account property name kind event page minimum created"
    ),
    "properties_grant": Place(
        "rights", "until they are taken away",
        pseudonymous="membership",
        none="id account api_key share_link module verb property",
    ),
    "properties_apikey": Place(
        "API keys, by a digest", ACCOUNT,
        personal="last_used_from",
        pseudonymous="made_by last_used",
        none="id created expires revoked account name prefix digest",
    ),
    "properties_sharelink": Place(
        "share links, by a digest", PROPERTY,
        pseudonymous="made_by last_used views",
        none="id created expires revoked account property name digest days first last password"
        " downloads hosts",
    ),
    "properties_invitation": Place(
        "invitations", ACCOUNT,
        personal="email",
        pseudonymous="invited_by",
        none="id account role rights invited_by_key digest created sent mails expires accepted"
        " revoked",
    ),
    # -- signing in --
    "account_emailaddress": Place(
        "e-mail addresses of users", LOGIN, personal="email", none="id user verified primary"
    ),
    "account_emailconfirmation": Place(
        "confirmations that are open", LOGIN,
        pseudonymous="email_address",
        none="id created sent key",
    ),
    "mfa_authenticator": Place(
        "second factors, encrypted", LOGIN,
        personal="data",
        pseudonymous="user created_at last_used_at",
        none="id type",
    ),
    "socialaccount_socialaccount": Place(
        "logins by a provider", LOGIN,
        personal="uid extra_data",
        pseudonymous="user last_login date_joined",
        none="id provider",
    ),
    "socialaccount_socialtoken": Place(
        "tokens of providers", LOGIN,
        personal="token token_secret",
        pseudonymous="account",
        none="id app expires_at",
    ),
    "socialaccount_socialapp": Place(
        "providers", "for ever", none="id provider provider_id name client_id secret key settings"
    ),
    "usersessions_usersession": Place(
        "where users are signed in", "until they sign out, or the session ends",
        personal="ip user_agent data",
        pseudonymous="user created_at last_seen_at session_key",
        none="id",
    ),
    "axes_accessattempt": Place(
        "failed log-ins", "until the pause after them is over",
        personal="user_agent ip_address username get_data post_data",
        pseudonymous="http_accept path_info attempt_time failures_since_start",
        none="id",
    ),
    "axes_accessattemptexpiration": Place(
        "when failed log-ins are forgotten", "as they are", none="access_attempt expires_at"
    ),
    "axes_accesslog": Place(
        "not written: the audit log has it", "-",
        personal="user_agent ip_address username",
        pseudonymous="http_accept path_info attempt_time logout_time session_hash",
        none="id",
    ),
    "axes_accessfailurelog": Place(
        "not written: the audit log has it", "-",
        personal="user_agent ip_address username",
        pseudonymous="http_accept path_info attempt_time locked_out",
        none="id",
    ),
    "django_session": Place(
        "not written: sessions lie in the cache", "-",
        pseudonymous="session_key session_data expire_date",
    ),
    "django_admin_log": Place(
        "what administrators did", LOGIN,
        personal="object_repr change_message",
        pseudonymous="user action_time",
        none="id content_type object_id action_flag",
    ),
    "auth_permission": Place(
        "rights of administrators", "for ever", none="id name content_type codename"
    ),
    "auth_group": Place("groups of administrators", "for ever", none="id name"),
    "django_content_type": Place("names of tables", "for ever", none="id app_label model"),
}  # fmt: skip

# Patterns as tracking/keys.py draws them; :x is a key of a property, behind its prefix.
EVENTS_KEYS = {
    ":m": (NONE, "numbers given out, version", "until the property is deleted"),
    ":i:<bucket>": (PSEUDONYMOUS, "visitor id -> number", "13 months after the last event"),
    ":i:<utc day>:<bits>:<bucket>": (PSEUDONYMOUS, "the same without cookies", "48 hours"),
    ":d:<bits>:<bucket>": (PSEUDONYMOUS, "event ids", "37 hours after use"),
    ":s": (PERSONAL, "events not yet in Postgres", "seconds"),
    ":l:<utc hour>": (NONE, "ledger", "8 days"),
    ":n:<day>:<dimension>": (PERSONAL, "pages and event names of a day", "3 days"),
    ":c:<hour>": (NONE, "counters", "3 days"),
    ":b:<grain><start>:<who>": (PSEUDONYMOUS, "who was there, by number", "3 hours, 3 days"),
    ":o": (PSEUDONYMOUS, "who is online", "minutes"),
    ":w": (PSEUDONYMOUS, "what their tabs show", "minutes"),
    ":g": (NONE, "how many show what", "minutes"),
    ":k:<utc minute>": (NONE, "how many were online in each moment of a minute", "3 hours"),
    ":y:<number/65536>": (PSEUDONYMOUS, "who comes often, by number", "26 hours"),
    ":y": (NONE, "when that was found out", "6 hours"),
    ":z": (NONE, "somebody watches", "30 seconds"),
    ":f": (PERSONAL, "the last events, while somebody watches", "10 minutes"),
}
CACHE_KEYS = {
    "aktivat:watched": (NONE, "properties somebody looks at", "minutes"),
    "aktivat:samples:{a:p}:<kind>": (PERSONAL, "what the event inspector shows", "5 minutes"),
    "aktivat:tally:{a:p}:<minute>": (NONE, "counts beside it", "3 minutes"),
    "aktivat:seconds:<whose>": (NONE, "how many were there, by second", "15 minutes"),
    "aktivat:ticks": (NONE, "what the worker did last", "for ever"),
}


def as_markdown() -> str:
    """The record as docs/privacy.md shows it."""
    lines = ["| where | what | personal | pseudonymous | how long |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for table, place in TABLES.items():
        cells = [f"`{table}`", place.what, _listed(place.personal), _listed(place.pseudonymous)]
        lines.append(f"| {' | '.join([*cells, place.kept])} |")
    lines += ["", "| key | what | tells of people | how long |", "| --- | --- | --- | --- |"]
    for key, (kind, what, kept) in (EVENTS_KEYS | CACHE_KEYS).items():
        lines.append(f"| `{key}` | {what} | {kind} | {kept} |")
    return "\n".join(lines)


def _listed(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split()) or "-"
