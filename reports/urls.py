"""Routes of the reports: pages and API. aktivat/urls.py includes both lists."""

from django.urls import URLPattern, path

from reports import api, stats, usage, views
from reports.metrics import DIMENSIONS

urlpatterns: list[URLPattern] = [
    path("p/<str:key>/", views.overview, name="overview"),
    path("p/<str:key>/now/", views.now, name="now"),
    path("a/<str:account>/usage/", usage.usage_page, name="usage"),
    path("a/<str:account>/usage.csv", usage.usage_csv, name="usage_csv"),
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

_STATS = "api/stats/track/<str:account>/<str:event>"
urlpatterns += [
    path(f"{_STATS}/{rest}", stats.view_of(name).as_view(), name=f"stats_{name}")
    for name, rest in [
        ("year", "<str:year>"),
        ("month", "<str:year>/<str:month>"),
        ("day", "<str:year>/<str:month>/<str:day>"),
        ("hour", "<str:year>/<str:month>/<str:day>/<str:hour>"),
    ]
]

# Below /api/v1/.
api_urlpatterns: list[URLPattern] = [
    path("accounts/<str:account>/usage", usage.Usage.as_view(), name="api_usage"),
    path("properties/<str:key>/query", api.Query.as_view(), name="api_query"),
    path("properties/<str:key>/realtime", api.Realtime.as_view(), name="api_realtime"),
]
