# Read once, by the image's own script, when the database is made.
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
    --set=marquee="$(cat "$MARQUEE_PASSWORD_FILE")" \
    --set=replication="$(cat "$REPLICATION_PASSWORD_FILE")" <<'SQL'
CREATE ROLE marquee LOGIN PASSWORD :'marquee';
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication';
CREATE DATABASE movieratedb OWNER marquee;
SQL
echo 'host replication replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"
