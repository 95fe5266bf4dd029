"""Why an event, or a whole request, is not accepted: two closed lists.

A `Reason` is of one event: counted per property and hour, returned to the sender, shown to the
customer. A `Fault` is of the envelope: it becomes an HTTP status and `{"error": ...}`.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Codes of refusal; docs/collecting.md has a sentence for each, kept true by a test."""

    MISSING = "missing"
    INVALID = "invalid"
    SHAPE = "shape"
    NIL_UUID = "nil_uuid"
    TIMESTAMP = "timestamp"
    FUTURE = "future"
    TOO_OLD = "too_old"
    NUMBER_RANGE = "number_range"
    TOO_LARGE = "too_large"
    TOO_MANY_PROPERTIES = "too_many_properties"
    DEPTH = "depth"
    CURRENCY = "currency"
    HOSTNAME = "hostname"
    EXCLUDED_ADDRESS = "excluded_address"
    REFERRER_SPAM = "referrer_spam"
    ORIGIN = "origin"
    CONSENT_DENIED = "consent_denied"
    GPC = "gpc"
    DNT = "dnt"
    ERASED = "erased"
    MIXED_PROPERTY = "mixed_property"
    UNKNOWN_PROPERTY = "unknown_property"
    VISITOR_LIMIT = "visitor_limit"
    QUOTA = "quota"


# What the owner of the property does about it: the event inspector shows it beside the message.
WHAT_TO_DO = {
    Reason.MISSING: "send the field",
    Reason.INVALID: "send the field in the form that the message shows",
    Reason.SHAPE: "send the event as a JSON object",
    Reason.NIL_UUID: "make a random UUID",
    Reason.TIMESTAMP: "send ISO 8601 with an offset, or milliseconds",
    Reason.FUTURE: "set the clock, or send `sent_at`",
    Reason.TOO_OLD: "import it with an API key",
    Reason.NUMBER_RANGE: "send a number within the limits that the message names",
    Reason.TOO_LARGE: "shorten the properties",
    Reason.TOO_MANY_PROPERTIES: "send fewer properties",
    Reason.DEPTH: "flatten the properties",
    Reason.CURRENCY: "send an ISO 4217 code",
    Reason.HOSTNAME: "add the page's host to the property's settings",
    Reason.EXCLUDED_ADDRESS: "nothing: the property leaves this address out",
    Reason.REFERRER_SPAM: "nothing: the referrer is on the list of spammers",
    Reason.ORIGIN: "add the site to the property's settings, or send an API key: the property takes"
    " events from its own sites only",
    Reason.CONSENT_DENIED: "nothing: the visitor has not agreed, or the sender has to send"
    " `consent`",
    Reason.GPC: "nothing: the browser asks not to be counted, and the property agrees",
    Reason.DNT: "nothing: the browser asks not to be counted, and the property agrees",
    Reason.ERASED: "nothing: who was erased is not counted again; with cleared cookies the browser"
    " is somebody new",
    Reason.MIXED_PROPERTY: "one request, one property",
    Reason.UNKNOWN_PROPERTY: "copy the key from the snippet page",
    Reason.VISITOR_LIMIT: "raise the property's ceiling of visitors",
    Reason.QUOTA: "choose a larger plan: this one is used up until the next month begins",
}
# The visitor does not want to be known: of these nothing is kept but their number.
UNSEEN = frozenset((Reason.CONSENT_DENIED, Reason.GPC, Reason.DNT, Reason.ERASED))


class Refusal(Exception):
    """One event is not accepted: why, which field, and what to do about it."""

    def __init__(self, reason: Reason, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.message, self.field = reason, message, field

    def as_json(self, index: int) -> dict[str, object]:
        body: dict[str, object] = {"index": index, "reason": str(self.reason)}
        if self.field:
            body["field"] = self.field
        return body | {"message": self.message}


class Fault(Exception):
    """The request as a whole cannot be read: an HTTP status, a code and what to do."""

    retry_after = 0  # seconds; 0: not said

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field

    def as_json(self) -> dict[str, object]:
        error = {"code": self.code, "message": self.message}
        if self.field:
            error["field"] = self.field
        return {"error": error}
