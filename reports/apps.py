"""The read side: rollups, questions and their answers as pages and API."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
