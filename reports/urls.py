"""Routes of the reports: pages and API. aktivat/urls.py includes both lists."""

from functools import partial

from django.urls import URLPattern, path

from properties.access import door, member, shared
from reports import (
    annotation_endpoints,
    annotation_pages,
    api,
    archives,
    concurrency_views,
    files,
    glances,
    link_values,
    live_picture,
    live_views,
    realtime_api,
    segment_endpoints,
    segment_pages,
    stats,
    streams,
    usage,
    usage_picture,
    views,
)
from reports.catalogue import OVERVIEW, REPORTS
from reports.metrics import DIMENSIONS, PROPS

urlpatterns: list[URLPattern] = [
    path("a/<str:account>/usage/", usage.usage_page, name="usage"),
    path("a/<str:account>/usage.csv", usage.usage_csv, name="usage_csv"),
    path("a/<str:account>/usage.svg", usage_picture.usage_svg, name="usage_svg"),
    path("a/<str:account>/live/stream", member(streams.of_account), name="account_live_stream"),
    path("a/<str:account>/segments/", segment_pages.every_segment, name="segments"),
    path("a/<str:account>/segments/<str:segment>/", segment_pages.one_segment, name="segment"),
    path(
        "a/<str:account>/segments/<str:segment>/delete/",
        segment_pages.delete_segment,
        name="delete_segment",
    ),
    path("p/<str:key>/annotations/", annotation_pages.notes, name="annotations"),
    path("p/<str:key>/annotations/<int:pk>/", annotation_pages.note, name="annotation"),
    path(
        "p/<str:key>/annotations/<int:pk>/delete/",
        annotation_pages.delete_note,
        name="delete_annotation",
    ),
    path("a/<str:account>/live/", live_views.live_of_account, name="account_live"),
    path("a/<str:account>/live.svg", live_picture.of_account, name="account_live_svg"),
    path("p/<str:key>/glance/", door(OVERVIEW.module)(glances.glance), name="glance"),
    path("a/<str:account>/live/now/", live_views.now_of_account, name="account_live_now"),
]

# Two ways to the same pages: a property's members have their rights, a share link has its own.
for root, shared_, behind, file_behind, part_behind in (
    ("p/<str:key>/", "", door, door, door),
    (
        "share/<str:token>/",
        "shared_",
        shared,
        partial(shared, downloads=True),
        partial(shared, is_part=True),
    ),
):
    urlpatterns += [
        path(root, behind(OVERVIEW.module)(views.overview), name=f"{shared_}overview"),
        path(
            f"{root}series.csv",
            file_behind(OVERVIEW.module)(files.series_csv),
            name=f"{shared_}series_csv",
        ),
        path(
            f"{root}tables.zip",
            file_behind(OVERVIEW.module)(archives.tables_zip),
            name=f"{shared_}tables_zip",
        ),
        path(
            f"{root}chart.svg",
            behind(OVERVIEW.module)(files.chart_svg),
            name=f"{shared_}chart_svg",
        ),
        path(f"{root}now/", behind("realtime")(views.now), name=f"{shared_}now"),
        path(f"{root}count/", behind("audience")(views.count), name=f"{shared_}count"),
        path(
            f"{root}live/", behind("realtime")(live_views.live_of_property), name=f"{shared_}live"
        ),
        path(
            f"{root}live.svg",
            behind("realtime")(live_picture.of_property),
            name=f"{shared_}live_svg",
        ),
        path(
            f"{root}live/now/",
            part_behind("realtime")(live_views.now_of_property),
            name=f"{shared_}live_now",
        ),
        path(
            f"{root}concurrency/",
            behind("realtime")(concurrency_views.page),
            name=f"{shared_}concurrency",
        ),
        path(
            f"{root}concurrency.csv",
            file_behind("realtime")(concurrency_views.as_csv),
            name=f"{shared_}concurrency_csv",
        ),
        path(
            f"{root}live/stream",
            part_behind("realtime")(streams.of_page),
            name=f"{shared_}live_stream",
        ),
        path(
            f"{root}concurrency.svg",
            behind("realtime")(concurrency_views.as_svg),
            name=f"{shared_}concurrency_svg",
        ),
    ]
    # One route for each report and dimension, so that each stands behind the door of its module.
    for report in REPORTS.values():
        urlpatterns.append(
            path(
                f"{root}{report.name}/",
                behind(report.module)(views.report),
                {"report": report.name},
                name=f"{shared_}report",
            )
        )
        if report.cards:
            urlpatterns.append(
                path(
                    f"{root}{report.name}/tables.zip",
                    file_behind(report.module)(archives.tables_zip),
                    {"report": report.name},
                    name=f"{shared_}report_tables_zip",
                )
            )
        if report.tiles:
            names = {"report": report.name}
            urlpatterns += [
                path(
                    f"{root}{report.name}/series.csv",
                    file_behind(report.module)(files.series_csv),
                    names,
                    name=f"{shared_}report_series_csv",
                ),
                path(
                    f"{root}{report.name}/chart.svg",
                    behind(report.module)(files.chart_svg),
                    names,
                    name=f"{shared_}report_chart_svg",
                ),
            ]
        for block in report.blocks:
            if block.picture:
                urlpatterns.append(
                    path(
                        f"{root}{report.name}/{block.file_name}.svg",
                        behind(block.module)(files.block_svg),
                        {"report": report.name, "block": block.name},
                        name=f"{shared_}report_block_svg",
                    )
                )
        for table in report.tables:
            names = {"report": report.name, "table": table}
            urlpatterns += [
                path(
                    f"{root}{report.name}/{table}/",
                    behind(report.module)(views.report_table),
                    names,
                    name=f"{shared_}report_table",
                ),
                path(
                    f"{root}{report.name}/{table}.csv",
                    file_behind(report.module)(files.report_table_csv),
                    names,
                    name=f"{shared_}report_table_csv",
                ),
            ]
    for name, dimension in DIMENSIONS.items():
        urlpatterns += [
            path(
                f"{root}table/{name}/",
                behind(dimension.module)(views.table),
                {"dimension": name},
                name=f"{shared_}table",
            ),
            path(
                f"{root}table/{name}.csv",
                file_behind(dimension.module)(files.table_csv),
                {"dimension": name},
                name=f"{shared_}table_csv",
            ),
        ]

# What the filter builder offers: members ask the API.
_OFFERED = "share/<str:token>/dimensions"
urlpatterns += [
    path(
        _OFFERED,
        shared("events", is_part=True)(link_values.properties),
        name="shared_dimensions",
    ),
    path(
        f"{_OFFERED}/{PROPS}<str:prop>/values",
        shared("events", is_part=True)(link_values.values),
        name="shared_prop_values",
    ),
    *(
        path(
            f"{_OFFERED}/{name}/values",
            shared(dimension.module, is_part=True)(link_values.values),
            {"dimension": name},
            name="shared_values",
        )
        for name, dimension in DIMENSIONS.items()
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
    path(
        "accounts/<str:account>/segments",
        segment_endpoints.Segments.as_view(),
        name="api_segments",
    ),
    path(
        "accounts/<str:account>/segments/<str:segment>",
        segment_endpoints.OneSegment.as_view(),
        name="api_segment",
    ),
    path("accounts/<str:account>/usage", usage.Usage.as_view(), name="api_usage"),
    path("properties/<str:key>/query", api.Query.as_view(), name="api_query"),
    path("properties/<str:key>/histogram", api.Histogram.as_view(), name="api_histogram"),
    path("properties/<str:key>/dimensions", api.Dimensions.as_view(), name="api_dimensions"),
    path(
        "properties/<str:key>/dimensions/<str:name>/values",
        api.Values.as_view(),
        name="api_values",
    ),
    path(
        "properties/<str:key>/annotations",
        annotation_endpoints.Annotations.as_view(),
        name="api_annotations",
    ),
    path(
        "properties/<str:key>/annotations/<int:pk>",
        annotation_endpoints.OneAnnotation.as_view(),
        name="api_annotation",
    ),
    path("properties/<str:key>/realtime", realtime_api.Realtime.as_view(), name="api_realtime"),
    path(
        "accounts/<str:account>/realtime",
        realtime_api.AccountRealtime.as_view(),
        name="api_account_realtime",
    ),
    path(
        "properties/<str:key>/concurrency",
        concurrency_views.Concurrency.as_view(),
        name="api_concurrency",
    ),
    path("properties/<str:key>/stream", streams.Stream.as_view(), name="api_stream"),
    path(
        "accounts/<str:account>/stream", streams.AccountStream.as_view(), name="api_account_stream"
    ),
]
