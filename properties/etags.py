"""Two people change one thing: the ETag of what the API shows, and its preconditions.

Enters: `If-None-Match` of a GET, `If-Match` of a PATCH, PUT or DELETE. Leaves: 304 without a body
when nothing changed, 412 `changed` when something did. Whoever sends no `If-Match` overwrites.
The tag is that of the shown data itself, so that no change of any field can be missed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from django.db import models
from django.http import Http404
from django.utils.http import parse_etags
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response


class Changed(exceptions.APIException):
    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "changed"
    default_detail = (
        "Somebody changed this since you read it. Read it again, and send the ETag of that answer "
        "as If-Match."
    )


Row = TypeVar("Row", bound=models.Model)


def tag_of(data: Mapping[str, Any], without: tuple[str, ...] = ()) -> str:
    """The ETag of data as a serializer shows it; a weak one when it leaves fields out."""
    kept = {name: value for name, value in data.items() if name not in without}
    # Sorted, because Postgres gives objects back with their names in another order.
    line = json.dumps(json.loads(JSONRenderer().render(kept)), sort_keys=True)
    tag = f'"{hashlib.sha256(line.encode()).hexdigest()[:32]}"'
    return f"W/{tag}" if without else tag


def locked(query: models.QuerySet[Row], **names: Any) -> Row:
    """The one row, which nobody else changes until the transaction ends; else Http404.

    A precondition is worth nothing when another request may write between it and the change.
    """
    found = query.select_for_update(of=("self",)).filter(**names).first()
    if found is None:
        raise Http404("There is nothing here.")
    return found


class Tagged:
    """For an API view of one thing: answer with `self.tagged(data)`; before a change, call
    `self.unchanged(data)` with what a GET would show.

    `untagged` names fields that change by themselves (when a key was last used): they make no
    precondition fail.
    """

    untagged: ClassVar[tuple[str, ...]] = ()
    request: Any  # of the view that this is mixed into

    def tagged(self, data: Mapping[str, Any], status_code: int = status.HTTP_200_OK) -> Response:
        tag = tag_of(data, self.untagged)
        asked = self.request.headers.get("If-None-Match", "")
        if self.request.method in ("GET", "HEAD") and _names(asked, tag):
            response = Response(status=status.HTTP_304_NOT_MODIFIED)
        else:
            response = Response(data, status=status_code)
        response["ETag"] = tag
        return response

    def unchanged(self, data: Mapping[str, Any]) -> None:
        """Raise Changed when If-Match names another state than that of the data."""
        asked = self.request.headers.get("If-Match")
        if asked is not None and not _names(asked, tag_of(data, self.untagged)):
            raise Changed


def _names(header: str, tag: str) -> bool:
    """Whether the list of tags names this one. A proxy that compresses answers weakens their tags
    (W/"..."); compared strictly, nobody behind one could ever change anything."""
    tags = parse_etags(header)
    plain = tag.removeprefix("W/")
    return tags == ["*"] or plain in {found.removeprefix("W/") for found in tags}
