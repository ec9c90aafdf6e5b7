# A replica: it copies its primary at its first start, beside the place that the copy takes once it is
# whole. From then on it starts from what it has, also with its primary away, also once it was promoted.
set -eu
if [ ! -e "$PGDATA" ]; then
    begun=$PGDATA.begun
    rm -rf "$begun" # of an attempt that was cut short
    PGPASSWORD=$(cat "$REPLICATION_PASSWORD_FILE") pg_basebackup --host=postgres --username=replication \
        --pgdata="$begun" --checkpoint=fast --write-recovery-conf
    mv "$begun" "$PGDATA"
fi
exec postgres "$@"
