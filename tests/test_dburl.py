"""Connection URLs in the dialects of Django and Celery."""

import pytest

from aktivat import dburl


def test_a_socket_folder_password_and_option_survive():
    found = dburl.django_database("postgresql://u:p%40w@/aktivat?host=/tmp/a%20b&sslmode=require")
    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "aktivat",
        "USER": "u",
        "PASSWORD": "p@w",
        "HOST": "/tmp/a b",
        "PORT": "",
        "OPTIONS": {"sslmode": "require"},
    }


def test_another_user_of_the_same_server():
    url = dburl.with_user("postgresql://u:p@db.example:55/a?sslmode=require", "w/x", "y@z")
    found = dburl.django_database(url)
    assert (found["USER"], found["PASSWORD"]) == ("w/x", "y@z")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "55", "a")
    assert found["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/", "mysql://u:secret@h/d", "h:x=1"])
def test_an_unusable_url_is_refused_without_its_password(url):
    with pytest.raises(SystemExit, match="Write it like") as refusal:
        dburl.django_database(url)
    assert "secret" not in str(refusal.value)


def test_celery_names_a_socket_in_its_own_way():
    assert (
        dburl.celery_url("unix:///run/b.sock?db=0") == "redis+socket:///run/b.sock?virtual_host=0"
    )
    assert dburl.celery_url("redis://h:1/0") == "redis://h:1/0"
