"""Every route of the product, and who brings it. The rules stand in the apps.

A view that names no access (properties/access.py) fails tests/test_access.py; pages of allauth
and of Django's admin, which guard themselves, are named there by prefix.
"""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import properties.urls
import reports.urls
import tracking.urls
from accounts.views import login_link
from aktivat import health
from properties.access import public
from tracking.admin import ledger_across_accounts

handler400 = "aktivat.errors.bad_request"
handler403 = "aktivat.errors.forbidden"
handler404 = "aktivat.errors.not_found"
handler500 = "aktivat.errors.server_error"

urlpatterns = [
    path("healthz", public(health.healthz), name="healthz"),
    path("readyz", public(health.readyz), name="readyz"),
    path("login-link/<str:token>/", public(login_link), name="login_link"),
    path("user/", include("allauth.account.urls")),
    path("user/2fa/", include("allauth.mfa.urls")),
    path("admin/ledger/", admin.site.admin_view(ledger_across_accounts), name="admin_ledger"),
    path("admin/", admin.site.urls),
    path("api/schema/", public(SpectacularAPIView.as_view()), name="schema"),
    path(
        "api/docs/",
        public(SpectacularSwaggerSplitView.as_view(url_name="schema")),
        name="api_docs",
    ),
    path("api/v1/", include(properties.urls.api_urlpatterns)),
    path("api/v1/", include(tracking.urls.api_urlpatterns)),
    path("api/v1/", include(reports.urls.api_urlpatterns)),
    path("", include("properties.urls")),
    path("", include("tracking.urls")),
    path("", include("reports.urls")),
]
