#!/bin/sh
# Runs once, when the database volume is empty: the three users of docs/hosting.md. The web's user
# must not own anything, or row-level security would not bind it.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set database="$POSTGRES_DB" --set owner_password="$OWNER_PASSWORD" \
  --set web_password="$WEB_PASSWORD" --set worker_password="$WORKER_PASSWORD" <<'SQL'
CREATE ROLE aktivat_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE aktivat_web LOGIN PASSWORD :'web_password';
CREATE ROLE aktivat_worker LOGIN PASSWORD :'worker_password';
ALTER DATABASE :"database" OWNER TO aktivat_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO aktivat_web, aktivat_worker;
ALTER SCHEMA public OWNER TO aktivat_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
