#!/bin/sh
# Makes the database on an empty volume, then becomes the server.
#
# POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE say whose database it is. The cluster is made
# beside its place and moved there whole, so that a pod that dies on the way begins anew.
set -eu
PATH=/usr/lib/postgresql/15/bin:$PATH

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	new=$PGDATA.new
	rm -rf "$new"
	initdb --pgdata="$new" --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
		--username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
		--auth-local=scram-sha-256 --auth-host=scram-sha-256
	echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
	printf 'CREATE DATABASE "%s"\n' "$POSTGRES_DB" | postgres --single -j -D "$new" postgres >/dev/null
	mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
