"""Routes of accounts and properties: pages and API. aktivat/urls.py includes both lists."""

from django.urls import URLPattern, path

from properties import (
    account_endpoints,
    account_settings,
    api_key_endpoints,
    api_key_pages,
    audit_endpoints,
    audit_pages,
    endpoints,
    goal_endpoints,
    invitation_page,
    key_endpoints,
    member_endpoints,
    member_pages,
    settings_pages,
    share_endpoints,
    share_pages,
    views,
)

urlpatterns: list[URLPattern] = [
    path("", views.home, name="home"),
    path("new-account/", views.new_account, name="new_account"),
    path("a/<str:account>/", views.account, name="account"),
    path("a/<str:account>/settings/", account_settings.account_settings, name="account_settings"),
    path("a/<str:account>/audit/", audit_pages.audit_log, name="audit_log"),
    path("a/<str:account>/audit.csv", audit_pages.audit_csv, name="audit_csv"),
    path("invitation/<str:token>/", invitation_page.invitation, name="invitation"),
    path("a/<str:account>/members/", member_pages.members, name="members"),
    path("a/<str:account>/members/<int:pk>/", member_pages.one_member, name="member"),
    path(
        "a/<str:account>/members/<int:pk>/words/",
        member_pages.member_words,
        name="member_words",
    ),
    path(
        "a/<str:account>/members/<int:pk>/owner/",
        member_pages.member_owner,
        name="member_owner",
    ),
    path(
        "a/<str:account>/members/<int:pk>/remove/",
        member_pages.remove_member,
        name="remove_member",
    ),
    path("a/<str:account>/leave/", member_pages.leave_account, name="leave_account"),
    path(
        "a/<str:account>/invitations/<int:pk>/resend/",
        member_pages.resend_invitation,
        name="resend_invitation",
    ),
    path(
        "a/<str:account>/invitations/<int:pk>/revoke/",
        member_pages.revoke_invitation,
        name="revoke_invitation",
    ),
    path("a/<str:account>/api-keys/", api_key_pages.api_keys, name="api_keys"),
    path(
        "a/<str:account>/api-keys/<int:pk>/",
        api_key_pages.api_key,
        name="api_key",
    ),
    path(
        "a/<str:account>/api-keys/<int:pk>/revoke/",
        api_key_pages.revoke_api_key,
        name="revoke_api_key",
    ),
    path("a/<str:account>/new-property/", views.new_property, name="new_property"),
    path("p/<str:key>/settings/", settings_pages.general, name="property_settings"),
    path("p/<str:key>/settings/tracking/", settings_pages.tracking, name="property_tracking"),
    path("p/<str:key>/settings/keys/", settings_pages.keys, name="property_keys"),
    path("p/<str:key>/settings/keys/<int:pk>/end/", settings_pages.end_key, name="end_key"),
    path("p/<str:key>/goals/", settings_pages.goals, name="property_goals"),
    path("p/<str:key>/goals/<int:pk>/", settings_pages.goal, name="property_goal"),
    path("p/<str:key>/goals/<int:pk>/delete/", settings_pages.delete_goal, name="delete_goal"),
    path("p/<str:key>/share/", share_pages.share_links, name="property_share"),
    path(
        "p/<str:key>/share/<int:pk>/revoke/",
        share_pages.revoke_share_link,
        name="revoke_share_link",
    ),
    path("share/<str:token>/unlock/", share_pages.unlock_share, name="unlock_share"),
    path("p/<str:key>/snippet/", views.snippet, name="snippet"),
]

api_urlpatterns: list[URLPattern] = [
    path("me", account_endpoints.Me.as_view(), name="api_me"),
    path("accounts", account_endpoints.Accounts.as_view(), name="api_accounts"),
    path("accounts/<str:account>", account_endpoints.OneAccount.as_view(), name="api_account"),
    path(
        "accounts/<str:account>/properties",
        endpoints.AccountProperties.as_view(),
        name="api_account_properties",
    ),
    path("accounts/<str:account>/audit", audit_endpoints.AuditLog.as_view(), name="api_audit"),
    path("accounts/<str:account>/members", member_endpoints.Members.as_view(), name="api_members"),
    path(
        "accounts/<str:account>/members/<int:pk>",
        member_endpoints.OneMember.as_view(),
        name="api_member",
    ),
    path(
        "accounts/<str:account>/members/<int:pk>/grants",
        member_endpoints.MemberGrants.as_view(),
        name="api_member_grants",
    ),
    path(
        "accounts/<str:account>/invitations",
        member_endpoints.Invitations.as_view(),
        name="api_invitations",
    ),
    path(
        "accounts/<str:account>/invitations/<int:pk>",
        member_endpoints.OneInvitation.as_view(),
        name="api_invitation",
    ),
    path(
        "accounts/<str:account>/invitations/<int:pk>/resend",
        member_endpoints.InvitationAgain.as_view(),
        name="api_resend_invitation",
    ),
    path(
        "accounts/<str:account>/api-keys",
        api_key_endpoints.ApiKeys.as_view(),
        name="api_account_keys",
    ),
    path(
        "accounts/<str:account>/api-keys/<int:pk>",
        api_key_endpoints.OneApiKey.as_view(),
        name="api_account_key",
    ),
    path("properties/<str:key>", endpoints.OneProperty.as_view(), name="api_property"),
    path(
        "properties/<str:key>/share-links",
        share_endpoints.ShareLinks.as_view(),
        name="api_share_links",
    ),
    path(
        "properties/<str:key>/share-links/<int:pk>",
        share_endpoints.OneShareLink.as_view(),
        name="api_share_link",
    ),
    path("properties/<str:key>/keys", key_endpoints.Keys.as_view(), name="api_keys_of_property"),
    path(
        "properties/<str:key>/keys/<int:pk>",
        key_endpoints.OneRetiredKey.as_view(),
        name="api_retired_key",
    ),
    path("properties/<str:key>/goals", goal_endpoints.Goals.as_view(), name="api_goals"),
    path("properties/<str:key>/goals/<int:pk>", goal_endpoints.OneGoal.as_view(), name="api_goal"),
]
