"""Routes of the pages about collecting. The collecting endpoints themselves are answered in
front of Django (aktivat/asgi.py)."""

from django.urls import URLPattern, path

from tracking import pages, people_endpoints

urlpatterns: list[URLPattern] = [
    path("p/<str:key>/first-event/", pages.first_event, name="first_event"),
    path("p/<str:key>/inspector/", pages.inspector, name="inspector"),
]

# Below /api/v1/.
api_urlpatterns: list[URLPattern] = [
    path("properties/<str:key>/users", people_endpoints.Users.as_view(), name="api_users"),
    path(
        "properties/<str:key>/users/<path:user>",
        people_endpoints.OneUser.as_view(),
        name="api_user",
    ),
]
