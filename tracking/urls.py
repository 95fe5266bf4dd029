"""Routes of the pages about collecting. The collecting endpoints themselves are answered in
front of Django (aktivat/asgi.py)."""

from django.urls import URLPattern, path

from tracking import pages

urlpatterns: list[URLPattern] = [
    path("p/<str:key>/first-event/", pages.first_event, name="first_event"),
    path("p/<str:key>/inspector/", pages.inspector, name="inspector"),
]
