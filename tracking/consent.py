"""Does the visitor agree to be counted, and as whom? Asked before anything else of an event.

In: the event's `consent`, the signals of the request's headers (Global Privacy Control, Do Not
Track), and what the property says about both. Out: whether the event must be kept without
identity, or a Refusal of which nothing but its reason is kept. Called by intake.py, whatever the
tracker in the page has decided by itself.
"""

from collections.abc import Mapping
from typing import Any

from tracking.directory import Record
from tracking.refusals import Reason, Refusal

ANSWERS = ("granted", "cookieless", "denied")


def signal_of(headers: Mapping[str, str]) -> Reason | None:
    """What the browser says for its user; the one with a law behind it first."""
    if headers.get("sec-gpc", "").strip() == "1":
        return Reason.GPC
    if headers.get("dnt", "").strip() == "1":
        return Reason.DNT
    return None


def check_signal(record: Record, signal: Reason | None) -> None:
    """Of who asks not to be counted nothing is looked at. Raises Refusal."""
    if signal and record.signals == "drop":
        raise Refusal(signal, "The visitor asks not to be counted, and the property agrees.")


def is_nameless(
    payload: Mapping[str, Any], record: Record, signal: Reason | None, privileged: bool
) -> bool:
    """Whether the visitor is counted but must not be known again. Raises Refusal.

    `privileged`: a program with a key, which answers for the visitors it speaks of.
    """
    consent = payload.get("consent")
    if consent is None:
        if record.mode == "required" and not privileged:
            raise _denied("The property counts only who has agreed: send the visitor's answer.")
        return signal is not None and record.signals == "cookieless"
    if consent == "denied":
        raise _denied("The visitor does not agree.")
    if consent not in ANSWERS:
        raise _denied(f"consent must be one of {', '.join(ANSWERS)}.")
    return consent == "cookieless" or (signal is not None and record.signals == "cookieless")


def _denied(message: str) -> Refusal:
    return Refusal(Reason.CONSENT_DENIED, message, "consent")
