"""Routes of the reports: pages and API. aktivat/urls.py includes both lists."""

from django.urls import URLPattern, path

from reports import views
from reports.metrics import DIMENSIONS

urlpatterns: list[URLPattern] = [
    path("p/<str:key>/", views.overview, name="overview"),
    path("p/<str:key>/now/", views.now, name="now"),
]

# One route for each dimension, so that every table stands behind the door of its own module.
for name in DIMENSIONS:
    urlpatterns += [
        path(
            f"p/<str:key>/table/{name}/",
            views.of_dimension(views.table, name),
            {"dimension": name},
            name="table",
        ),
        path(
            f"p/<str:key>/table/{name}.csv",
            views.of_dimension(views.table_csv, name),
            {"dimension": name},
            name="table_csv",
        ),
    ]
