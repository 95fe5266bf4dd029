"""The read side: rollups, questions and their answers as pages and API."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"

    def ready(self) -> None:
        from properties.context import offer_report
        from reports.catalogue import REPORTS

        for report in REPORTS.values():
            offer_report(report.name, report.title, report.module, in_more=report.in_more)
