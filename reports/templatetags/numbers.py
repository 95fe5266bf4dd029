"""Template filters over reports/formatting.py: `{{ number|short }}`, `{{ number|exact }}`."""

from django import template

from reports import formatting

register = template.Library()


@register.filter
def short(value: formatting.Number, unit: str = "count") -> str:
    """12,345 as 12.3k, None as "-"; `unit` is that of a metric."""
    return formatting.short(value, unit)  # type: ignore[arg-type]


@register.filter
def exact(value: formatting.Number, unit: str = "count") -> str:
    """12,345 as 12,345."""
    return formatting.exact(value, unit)  # type: ignore[arg-type]
