"""Settings of every process: web, collector, worker, beat and tests.

All that differs between installations comes from the environment (see docs/settings.md);
rules of the product live in the apps, never here.
"""

import ipaddress
import logging
from pathlib import Path
from typing import Any

import structlog
from csp.constants import NONCE, NONE, SELF

from aktivat.dburl import celery_url, django_database
from aktivat.env import envbool, envint, envlist, envstr
from aktivat.logs import with_request_id, without_secrets
from aktivat.pooling import PooledConnection
from aktivat.providers import apps, origins, providers
from aktivat.security_txt import contact

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = envstr("AKTIVAT_ENV", "development")
if ENV not in {"development", "test", "production"}:
    raise SystemExit(f"AKTIVAT_ENV={ENV!r}: use development, test or production.")
PRODUCTION = ENV == "production"
HOME = Path(envstr("AKTIVAT_HOME", str(BASE_DIR / "var"))).resolve()
DEMO = envbool("AKTIVAT_DEMO", True)

DEVELOPMENT_SECRET = "development-only-not-a-secret"  # noqa: S105  production refuses it
SECRET_KEY = envstr("SECRET_KEY", DEVELOPMENT_SECRET)
SECRET_KEY_FALLBACKS = envlist("SECRET_KEY_FALLBACKS")
DEBUG = envbool("DEBUG", False)
ALLOWED_HOSTS = envlist("ALLOWED_HOSTS") or ([] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = envlist("CSRF_TRUSTED_ORIGINS")
TRUSTED_PROXIES = tuple(
    ipaddress.ip_network(network, strict=False) for network in envlist("TRUSTED_PROXIES")
)
# Events a second that a web process takes from one address and for one property, and how many at
# once; 0 switches a limit off (tracking/limits.py).
ADDRESS_RATE, ADDRESS_BURST = envint("ADDRESS_RATE", 200), envint("ADDRESS_BURST", 4_000)
KEY_RATE, KEY_BURST = envint("KEY_RATE", 2_000), envint("KEY_BURST", 20_000)
# Requests a second of one key, user or address to the API, and how many at once; 0: no limit.
API_RATE, API_BURST = envint("API_RATE", 20), envint("API_BURST", 1_000)
PUBLIC_URL = envstr("PUBLIC_URL").rstrip("/")  # shown in snippets; empty: the request's own host
SECURITY_CONTACT = contact(envstr("SECURITY_CONTACT"))

INSTALLED_APPS = [
    "aktivat",
    "accounts",
    "properties",
    "tracking",
    "reports",
    "privacy",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.admin",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "django_prometheus",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
]

MIDDLEWARE = [
    "aktivat.request_ids.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "aktivat.headers.HeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.sessions.SessionLimits",
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.support.SupportMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.afterwards.AfterwardsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "aktivat.urls"
ASGI_APPLICATION = "aktivat.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "frontend" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "properties.context.frame",
            ],
        },
    }
]

# --- Postgres: three users over one database (docs/hosting.md says why) ----------------------

WEB_URL = envstr("DATABASE_URL", "postgresql:///aktivat")
DATABASES: dict[str, dict[str, Any]] = {
    "default": django_database(WEB_URL),
    "worker": django_database(envstr("DATABASE_WORKER_URL", WEB_URL)),
    "owner": django_database(envstr("DATABASE_OWNER_URL", WEB_URL)),
}
for _database in DATABASES.values():
    # Or after a restart of Postgres every connection of the pool costs somebody an error page
    # (and aktivat/pooling.py: or many of them together cost one).
    _database["CONN_HEALTH_CHECKS"] = True
    # Seconds: a Postgres that is silent must cost an answer, not a thread that waits for hours.
    _patience = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 3}
    _patience |= {"keepalives_count": 3, "tcp_user_timeout": 15_000}
    _database["OPTIONS"] = _patience | _database["OPTIONS"]
DATABASES["default"]["OPTIONS"]["pool"] = {
    "connection_class": PooledConnection,
    "min_size": 1,
    "max_size": envint("DATABASE_POOL", 8),
    "timeout": 5,
    # The pool doubles its pause between attempts for so long; then the next request tries again.
    # By default five minutes: Postgres would be back and pages would not.
    "reconnect_timeout": 3,
}
DATABASES["worker"]["CONN_MAX_AGE"] = 600
QUESTION_TIMEOUT = envint("QUESTION_TIMEOUT", 20)  # seconds of a report's statement
FILE_TIMEOUT = envint("FILE_TIMEOUT", 120)  # seconds in which a table is counted for a file
# Where its rows wait (reports/spools.py): on disk, which /tmp is not everywhere.
SPOOL_DIR = envstr("SPOOL_DIR", "/var/tmp")  # noqa: S108  files there have no name
DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Two Valkeys: events apart from cache, sessions and broker -------------------------------

EVENTS_URL = envstr("REDIS_URL", "redis://127.0.0.1:6379/0")
BROKER_URL = envstr("BROKER_URL", "redis://127.0.0.1:6380/0")
EVENTS_TIMEOUT = 1.0  # seconds; reliability: a stopped Valkey must cost a 503, not a worker
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": BROKER_URL,
        "KEY_PREFIX": "aktivat",
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_TIMEOUT": 1,
            "SOCKET_CONNECT_TIMEOUT": 1,
        },
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_HOURS = envint("SESSION_HOURS", 30 * 24)  # accounts/sessions.py
SESSION_COOKIE_AGE = envint("SESSION_IDLE_HOURS", 7 * 24) * 3600
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"

CELERY_BROKER_URL = celery_url(BROKER_URL)
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 2}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 900
CELERY_DB_REUSE_MAX = 1000  # or every tick opens a new database connection

# --- Sign-up and log-in ----------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in [
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 10}),
        ("CommonPasswordValidator", {}),
    ]
] + [{"NAME": "accounts.passwords.ContextValidator"}]
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60  # seconds; accounts/fresh.py
ACCOUNT_FORMS = {"signup": "accounts.signup.SignupForm"}
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Aktivat] "
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of a new password, address, second factor
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
SIGN_IN_PROVIDERS = providers(
    envstr("OIDC_PROVIDERS"), envstr("GOOGLE_CLIENT_ID"), envstr("GOOGLE_CLIENT_SECRET")
)
SOCIALACCOUNT_ADAPTER = "accounts.providers.ProviderAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {"APPS": apps(SIGN_IN_PROVIDERS), "OAUTH_PKCE_ENABLED": True}
}
MFA_TOTP_ISSUER = "Aktivat"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s: telephones' clocks go wrong, and people type slowly
MFA_FORMS = {
    "authenticate": "accounts.codes.AuthenticateForm",
    "reauthenticate": "accounts.codes.ReauthenticateForm",
}
MFA_ADAPTER = "accounts.second_factor.SecondFactor"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_USERNAME_CALLABLE = "accounts.adapter.login_name"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "axes.handlers.cache.AxesCacheHandler"
AXES_CLIENT_IP_CALLABLE = "accounts.addresses.address_of"
AXES_VERBOSE = False

EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if envstr("EMAIL_HOST")
    else "django.core.mail.backends.console.EmailBackend"
)
EMAIL_HOST = envstr("EMAIL_HOST", "localhost")
EMAIL_PORT = envint("EMAIL_PORT", 25)
EMAIL_HOST_USER = envstr("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = envstr("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = envbool("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10  # seconds; a mail server that is silent must not hold a page for minutes
DEFAULT_FROM_EMAIL = envstr("DEFAULT_FROM_EMAIL", "Aktivat <aktivat@localhost>")

# --- Pages -----------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [
    path
    for path in (BASE_DIR / "frontend" / "static", BASE_DIR / "frontend" / "dist")
    if path.is_dir()
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF, *origins(SIGN_IN_PROVIDERS)],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
CSRF_COOKIE_HTTPONLY = False
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = envbool("SECURE_SSL_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"

# --- API -------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "properties.authentication.ApiKeyAuthentication",
        "properties.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["properties.permission.DoorPermission"],
    "DEFAULT_THROTTLE_CLASSES": ["properties.throttling.Throttle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["properties.parsing.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "properties.openapi.Schema",
    "EXCEPTION_HANDLER": "properties.api.error_response",
    "ALLOWED_VERSIONS": ["1"],  # any other text in ?version= would go into a header
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aktivat API",
    "DESCRIPTION": "Read reports, ask questions, manage properties. Keys go in `Authorization: "
    "Bearer ak_...`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "properties.openapi.add_refusals",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
}

# --- Logs: one JSON object a line in production, so that a hostile path cannot forge a line ---

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    cache_logger_on_first_use=True,
)


def _without_trace(record: logging.LogRecord) -> bool:
    """A strange Host header says all in one line, and strangers send many."""
    record.exc_info = None
    return True


LOGGING = {
    "version": 1,
    "filters": {
        "without_trace": {"()": "django.utils.log.CallbackFilter", "callback": _without_trace}
    },
    "loggers": {"django.security.DisallowedHost": {"filters": ["without_trace"]}},
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                with_request_id,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.PositionalArgumentsFormatter(),
                without_secrets,
                structlog.processors.format_exc_info,
            ],
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": envstr("LOG_LEVEL", "WARNING")},
}
