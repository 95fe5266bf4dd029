#!/bin/sh
# What the image can run as. Every command replaces the shell, so that signals reach the program.
set -eu

# Servers may be a moment later than we are; settings that are wrong stay wrong, and are shown.
refuse_wrong_servers() {
  python manage.py check --tag servers --database default --fail-level ERROR
}

case "${1:-web}" in
  web | collector)
    python manage.py check --fail-level ERROR
    refuse_wrong_servers
    exec gunicorn --config aktivat/servers/gunicorn.conf.py
    ;;
  worker)
    exec celery -A aktivat worker --pool solo --without-gossip --without-mingle --loglevel WARNING
    ;;
  beat)
    exec celery -A aktivat beat --schedule /tmp/beat-schedule --pidfile '' --loglevel WARNING
    ;;
  migrate)
    python manage.py check --fail-level ERROR
    python manage.py prepare_database
    refuse_wrong_servers
    exec python manage.py migrate --database owner --no-input
    ;;
  health)
    exec python docker/health.py
    ;;
  manage)
    shift
    exec python manage.py "$@"
    ;;
  *)
    echo "Unknown command $1. Use web, collector, worker, beat, migrate, health or manage." >&2
    exit 2
    ;;
esac
