#!/bin/sh
# The shards of the movie store, backed up while everything goes on, and back:
#
#   postgres.sh backup FOLDER            every shard that MARQUEE_MOVIES_URL names, each as of one moment,
#                                        with its positions in the event log, and their checksums
#   postgres.sh restore FOLDER [SHARD]   all of them, or one (its place in MARQUEE_MOVIES_URL, from 0),
#                                        into databases that are there and empty; then `marquee migrate`
#
# Passwords are best kept in ~/.pgpass: those in a URL are seen by whoever sees processes.
set -eu
umask 077
sums=SHA256SUMS

fail() {
    echo "postgres.sh: $*" >&2
    exit 1
}

back_up() {
    folder=$1
    [ ! -e "$folder" ] || fail "$folder is there already: name another one"
    draft=$folder.$$
    mkdir -p "$draft"
    trap 'rm -rf "$draft"' EXIT
    trap 'exit 1' HUP INT TERM
    number=0
    for url in $MARQUEE_MOVIES_URL; do
        pg_dump --format=custom --no-owner --no-privileges --no-comments \
            --file="$draft/shard-$number.dump" --dbname="$url"
        number=$((number + 1))
    done
    (cd "$draft" && sha256sum -- *.dump >$sums)
    sync
    mv "$draft" "$folder"
}

restore() {
    folder=$1 only=${2-}
    [ -f "$folder/$sums" ] || fail "$folder is no backup: it has no $sums"
    (cd "$folder" && sha256sum --check --strict --quiet $sums) || fail "$folder is damaged"
    number=0 shards=
    for url in $MARQUEE_MOVIES_URL; do
        if [ "${only:-$number}" = "$number" ]; then
            [ -f "$folder/shard-$number.dump" ] || fail "$folder has no shard $number"
            check_empty "$number" "$url"
            shards="$number=$url $shards" # the first one last: it reads the others
        fi
        number=$((number + 1))
    done
    [ -n "$shards" ] || fail "MARQUEE_MOVIES_URL names no shard $only"
    for shard in $shards; do
        # At once, so that no aggregator that is there already goes on from half of it.
        pg_restore --single-transaction --exit-on-error --no-owner --no-privileges --no-comments \
            --dbname="${shard#*=}" "$folder/shard-${shard%%=*}.dump"
    done
}

check_empty() {
    empty=$(psql --no-psqlrc --tuples-only --no-align --dbname="$2" --command="
        SELECT NOT EXISTS (
            SELECT FROM pg_class
            WHERE relnamespace NOT IN (
                SELECT oid FROM pg_namespace
                WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
            AND NOT EXISTS (
                SELECT FROM pg_depend  -- of an extension
                WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'))")
    [ "$empty" = t ] || fail "the database of shard $1 is not empty: rename it, and make it anew"
}

case ${1-}/$# in
backup/2) back_up "$2" ;;
restore/2 | restore/3) restore "$2" "${3-}" ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
