# Gives the primary what its promoted replica has, whose copy is in the folder that is given and is a
# replica again from then on. Both are stopped. Cut short, the primary starts as a replica at most, or
# not at all, until this is run again.
set -eu
[ -e "$1/PG_VERSION" ] && [ ! -e "$1/standby.signal" ] || {
    echo "There is no promoted replica in $1." >&2
    exit 1
}
cd "$PGDATA"
touch standby.signal
find . -mindepth 1 ! -path ./standby.signal -delete
cp -a "$1/." .
sync
rm standby.signal
touch "$1/standby.signal"
