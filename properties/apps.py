"""What may be measured and by whom: properties, grants, API keys, THE DOOR and its pages."""

from django.apps import AppConfig


class PropertiesConfig(AppConfig):
    name = "properties"
