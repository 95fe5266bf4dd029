"""Routes of privacy: pages and API. aktivat/urls.py includes both lists."""

from django.urls import URLPattern, path

from privacy import endpoints, views

urlpatterns: list[URLPattern] = [
    path("p/<str:key>/settings/privacy/", views.privacy, name="property_privacy"),
    path("p/<str:key>/settings/privacy/export/", views.export, name="export_visitor"),
    path("p/<str:key>/settings/privacy/erase/", views.erase, name="erase_visitor"),
    path("p/<str:key>/settings/privacy/delete/", views.delete_property, name="delete_property"),
    path("stored/", views.stored, name="stored"),
    path(".well-known/gpc.json", views.gpc, name="gpc"),
    path("a/<str:account>/delete/", views.delete_account, name="delete_account"),
    path("user/delete/", views.delete_login, name="delete_login"),
]

api_urlpatterns: list[URLPattern] = [
    path("properties/<str:key>/exports", endpoints.Exports.as_view(), name="api_exports"),
    path("properties/<str:key>/erasures", endpoints.Erasures.as_view(), name="api_erasures"),
    path(
        "properties/<str:key>/erasures/<int:pk>",
        endpoints.OneErasure.as_view(),
        name="api_erasure",
    ),
]
