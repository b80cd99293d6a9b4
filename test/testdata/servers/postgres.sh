#!/bin/sh
# What PostgreSQL's own image does at its start, as far as it matters here: data
# that are there keep their password, and loopback is trusted.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	umask 077
	printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
	initdb --no-sync -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password -E UTF8 --locale=C --auth=scram-sha-256 >/dev/null
	printf 'local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all all scram-sha-256\n' >"$PGDATA/pg_hba.conf"
	if [ "$POSTGRES_DB" != postgres ]; then
		printf 'CREATE DATABASE "%s";\n' "$POSTGRES_DB" | postgres --single -D "$PGDATA" postgres >/dev/null
	fi
fi
# As quick as it can be on a busy machine; a kill loses nothing of it.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c shared_buffers=16MB -c max_connections=20
