"""`{% health as found %}`: how the installation is, for the administration's first page."""

from django import template
from django.utils import timezone

from tracking import operation

register = template.Library()


@register.simple_tag
def health() -> operation.Health:
    return operation.health(timezone.now())
