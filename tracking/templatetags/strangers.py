"""Template filters over properties/strangers_text.py: `{{ text|visible }}`, for what was sent."""

from django import template

from properties import strangers_text

register = template.Library()


@register.filter
def visible(text: str) -> str:
    """What shows nothing, or turns the text around it, as its number."""
    return strangers_text.visible(text)


@register.filter
def visible_lines(text: str) -> str:
    """The same of a text of several lines, which stay."""
    return "\n".join(map(strangers_text.visible, text.split("\n")))
