"""Routes of accounts and properties: pages and API. aktivat/urls.py includes both lists."""

from django.urls import URLPattern, path

from properties import endpoints, views

urlpatterns: list[URLPattern] = [
    path("", views.home, name="home"),
    path("new-account/", views.new_account, name="new_account"),
    path("a/<str:account>/", views.account, name="account"),
    path("a/<str:account>/members/", views.members, name="members"),
    path("a/<str:account>/api-keys/", views.api_keys, name="api_keys"),
    path(
        "a/<str:account>/api-keys/<int:pk>/revoke/",
        views.revoke_api_key,
        name="revoke_api_key",
    ),
    path("a/<str:account>/new-property/", views.new_property, name="new_property"),
    path("p/<str:key>/settings/", views.property_settings, name="property_settings"),
    path("p/<str:key>/snippet/", views.snippet, name="snippet"),
]

api_urlpatterns: list[URLPattern] = [
    path("accounts", endpoints.Accounts.as_view(), name="api_accounts"),
    path(
        "accounts/<str:account>/properties",
        endpoints.AccountProperties.as_view(),
        name="api_account_properties",
    ),
    path("properties/<str:key>", endpoints.OneProperty.as_view(), name="api_property"),
]
