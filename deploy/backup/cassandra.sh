#!/bin/sh
# What a node of Cassandra holds of the ratings, backed up while it serves, and back. On each node, as
# Cassandra's user:
#
#   cassandra.sh backup DATA FOLDER [KEYSPACE]   a snapshot of KEYSPACE (marquee), the schema, the
#                                                logins and the node's tokens, with their checksums
#   cassandra.sh restore FOLDER DATA             into the empty DATA of a node that has never run
#   cassandra.sh archive SEGMENT ARCHIVE         a segment of the commit log into the folder ARCHIVE,
#                                                whole or not at all: for archive_command
#   cassandra.sh log COMMITLOG ARCHIVE           what is in COMMITLOG, and not in ARCHIVE yet, to
#                                                ARCHIVE.open: for cron
#
# DATA is the node's data_file_directories. NODETOOL names another nodetool, options included.
# Tables keep their ids, so that archived commit logs can be replayed on top of it.
set -eu
umask 077
nodetool=${NODETOOL:-nodetool}
sums=SHA256SUMS

fail() {
    echo "cassandra.sh: $*" >&2
    exit 1
}

back_up() {
    data=$1 folder=$2 keyspace=$3
    [ -d "$data/$keyspace" ] || fail "there is no keyspace $keyspace in $data"
    [ ! -e "$folder" ] || fail "$folder is there already: name another one"
    name=marquee-$(date -u +%Y%m%dT%H%M%SZ)-$$
    draft=$folder.$$
    mkdir -p "$draft/data"
    trap 'rm -rf "$draft"; $nodetool clearsnapshot -t "$name" >/dev/null' EXIT
    trap 'exit 1' HUP INT TERM

    $nodetool snapshot -t "$name" -- "$keyspace" system_schema system_auth >/dev/null
    for snapshot in "$data/$keyspace"/*/snapshots/"$name" "$data"/system_*/*/snapshots/"$name"; do
        table=${snapshot%/snapshots/*}
        to=$draft/data${table#"$data"}
        mkdir -p "$to"
        cp -R "$snapshot/." "$to"
    done
    cat "$draft/data/$keyspace"/*/schema.cql >"$draft/schema.cql" # for people: it is in system_schema
    find "$draft/data" \( -name schema.cql -o -name manifest.json \) -exec rm {} +
    $nodetool info -T | sed -n 's/^Token *: *//p' >"$draft/tokens"
    (cd "$draft" && find data schema.cql tokens -type f -exec sha256sum {} + >$sums)
    sync
    mv "$draft" "$folder"
}

restore() {
    folder=$1 data=$2
    [ -f "$folder/$sums" ] || fail "$folder is no backup: it has no $sums"
    (cd "$folder" && sha256sum --check --strict --quiet $sums) || fail "$folder is damaged"
    [ -z "$(ls -A "$data" 2>/dev/null)" ] ||
        fail "$data is not empty: put it, commit logs, hints and saved caches elsewhere first"
    mkdir -p "$data/restoring"
    cp -R "$folder/data/." "$data/restoring"
    sync
    mv "$data"/restoring/* "$data"
    rmdir "$data/restoring"
    # Without them it would take tokens of its own, or what it has from nodes that are not there.
    echo "# In place of what the node's cassandra.yaml says of these. The last two go out again, once it has started."
    echo "num_tokens: $(grep -c . "$folder/tokens")"
    echo "initial_token: \"$(paste -s -d, "$folder/tokens")\""
    echo "auto_bootstrap: false"
}

archive() {
    segment=$1 archive=$2
    [ -d "$archive" ] || fail "there is no $archive"
    draft=$archive.$$ # not in it: all that is in it is replayed
    trap 'rm -f "$draft"' EXIT
    cp "$segment" "$draft"
    sync "$draft"
    mv "$draft" "$archive/${segment##*/}"
}

log_open() {
    log=$1 archive=$2
    [ -d "$archive" ] || fail "there is no $archive"
    draft=$archive.$$
    mkdir "$draft"
    trap 'rm -rf "$draft"' EXIT
    for segment in "$log"/CommitLog-*.log; do
        [ -e "$archive/${segment##*/}" ] || cp "$segment" "$draft" ||
            [ ! -e "$segment" ] || fail "$segment can't be copied" # or it was archived meanwhile
    done
    # A node that runs writes to one.
    [ -n "$(ls -A "$draft")" ] || fail "$log has no commit log that is open"
    sync
    rm -rf "$archive.open"
    mv "$draft" "$archive.open"
}

case ${1-}/$# in
backup/3) back_up "$2" "$3" marquee ;;
backup/4) back_up "$2" "$3" "$4" ;;
restore/3) restore "$2" "$3" ;;
archive/3) archive "$2" "$3" ;;
log/3) log_open "$2" "$3" ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
