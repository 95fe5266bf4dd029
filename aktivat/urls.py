"""Every route of the product, and who brings it. The rules stand in the apps.

A view that names no access (properties/access.py) fails tests/test_access.py; pages of allauth
and of Django's admin, which guard themselves, are named there by prefix.
"""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import privacy.urls
import properties.urls
import reports.urls
import tracking.urls
from accounts import views as accounts_views
from aktivat import health
from aktivat.security_txt import security_txt
from properties.access import public, signed_in
from tracking.admin import (
    audit_across_accounts,
    ledger_across_accounts,
    refusals_across_accounts,
    ticks_of_worker,
    usage_across_accounts,
)

handler400 = "aktivat.errors.bad_request"
handler403 = "aktivat.errors.forbidden"
handler404 = "aktivat.errors.not_found"
handler500 = "aktivat.errors.server_error"

urlpatterns = [
    path("healthz", public(health.healthz), name="healthz"),
    path("readyz", public(health.readyz), name="readyz"),
    path(".well-known/security.txt", public(security_txt), name="security_txt"),
    path("login-link/<str:token>/", public(accounts_views.login_link), name="login_link"),
    path("user/", include("allauth.account.urls")),
    path("user/2fa/", include("allauth.mfa.urls")),
    path("user/connections/", include("allauth.socialaccount.urls")),
    path("user/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("user/profile/", signed_in(accounts_views.profile), name="profile"),
    path("user/sign-in-again/", signed_in(accounts_views.sign_in_again), name="sign_in_again"),
    path("user/sessions/", signed_in(accounts_views.sessions), name="sessions"),
    path(
        "user/sessions/end-others/",
        signed_in(accounts_views.end_other_sessions),
        name="end_other_sessions",
    ),
    path("user/sessions/<int:pk>/end/", signed_in(accounts_views.end_session), name="end_session"),
    path("admin/ledger/", admin.site.admin_view(ledger_across_accounts), name="admin_ledger"),
    path("admin/usage/", admin.site.admin_view(usage_across_accounts), name="admin_usage"),
    path("admin/refusals/", admin.site.admin_view(refusals_across_accounts), name="admin_refusals"),
    path("admin/ticks/", admin.site.admin_view(ticks_of_worker), name="admin_ticks"),
    path("admin/audit/", admin.site.admin_view(audit_across_accounts), name="admin_audit"),
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
    path("api/v1/", include(privacy.urls.api_urlpatterns)),
    path("", include("properties.urls")),
    path("", include("tracking.urls")),
    path("", include("reports.urls")),
    path("", include("privacy.urls")),
]
