# A replica: it copies its primary at its first start, and follows it from then on.
set -eu
if [ ! -s "$PGDATA/standby.signal" ]; then
    find "$PGDATA" -mindepth 1 -delete # what an attempt left that was cut short
    chmod 0700 "$PGDATA"
    PGPASSWORD=$(cat /run/marquee/replication) pg_basebackup --host=postgres --username=replication \
        --pgdata="$PGDATA" --checkpoint=fast --write-recovery-conf
fi
exec postgres "$@"
