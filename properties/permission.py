"""REST framework's default permission. Apart from access.py, because REST framework imports it
while its own views are still being imported, and access.py builds on those."""

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from properties.models import ApiKey


class DoorPermission(BasePermission):
    """Refuses every view that does not name its access, and nobody everywhere else."""

    def has_permission(self, request: Request, view: object) -> bool:
        if getattr(view, "access", None) is None:
            raise ImproperlyConfigured(f"{type(view).__name__} does not pass THE DOOR.")
        if isinstance(request.auth, ApiKey) or getattr(request.user, "is_authenticated", False):
            return True
        raise NotAuthenticated
