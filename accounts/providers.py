"""Signing in by a provider: who somebody is there, is (provider, subject) and nothing else.

An e-mail address that a provider tells never opens an existing user: whoever runs the provider
could claim any. It only becomes a confirmed address of a new user, if the provider says that it
confirmed it. Called by allauth.socialaccount.
"""

from typing import Any

import requests
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.models import SocialApp, SocialLogin
from django.http import HttpRequest
from django.shortcuts import render

from accounts.fresh import is_fresh
from accounts.models import User


class ProviderAdapter(DefaultSocialAccountAdapter):
    def list_apps(
        self, request: HttpRequest, provider: Any = None, client_id: Any = None
    ) -> list[SocialApp]:
        """Those of the environment. Secrets stand in no table, and the log-in page needs no SQL."""
        found = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in found.values() for app in apps]

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Only a real `true` is one: some providers send "false" as text."""
        for address in sociallogin.email_addresses:
            address.verified = address.verified is True

    def populate_user(
        self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]
    ) -> User:
        user = super().populate_user(request, sociallogin, data)
        name = str(data.get("name") or "")
        user.name = "".join(c for c in name if c.isprintable()).strip()[:120]
        return user

    def generate_state_param(self, state: dict[str, Any]) -> str:
        """The way to the provider begins here: a new key to one's own user is a dangerous act."""
        if state.get("process") == "connect" and not is_fresh(context.request):
            raise ReauthenticationRequired
        return super().generate_state_param(state)

    def get_requests_session(self) -> requests.Session:
        """A provider that is away or slow is a page that says so."""
        session = super().get_requests_session()
        ask = session.request

        def asked(*args: Any, **options: Any) -> requests.Response:
            try:
                return ask(*args, **options)
            except requests.RequestException as error:
                page = "socialaccount/authentication_error.html"
                raise ImmediateHttpResponse(render(context.request, page, status=502)) from error

        session.request = asked  # type: ignore[method-assign]
        return session
