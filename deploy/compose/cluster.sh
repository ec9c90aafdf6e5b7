# Has the six Redis know each other: as a new Cluster where there is no whole one, else only where they are now.
# Of two that came back with each other's addresses neither asks the other any more: so each is told of all.
set -eu
nodes=$(getent ahostsv4 redis | awk '/STREAM/ { print $1 }')
first=${nodes%%"
"*}

info() { redis-cli -h "$1" cluster info; }
is_made() {
    info "$first" | grep -q '^cluster_slots_assigned:16384' &&
        [ "$(redis-cli -h "$first" cluster nodes | grep -c slave)" -ge 3 ]
}

if is_made; then
    for one in $nodes; do
        for node in $nodes; do redis-cli -h "$one" cluster meet "$node" 6379; done
    done
else
    for node in $nodes; do # they may be of a start that was cut short, and hold nothing but a cache
        redis-cli -h "$node" flushall
        redis-cli -h "$node" cluster reset hard
    done
    # shellcheck disable=SC2046 # one word a node
    redis-cli --cluster create $(printf '%s:6379 ' $nodes) --cluster-replicas 1 --cluster-yes
fi
for _ in $(seq 300); do
    whole=$(for node in $nodes; do info "$node"; done | grep -c '^cluster_state:ok' || true)
    lost=$(for node in $nodes; do redis-cli -h "$node" cluster nodes; done |
        grep -cE 'noaddr|handshake|fail|disconnected' || true)
    [ "$whole" -lt "$(echo "$nodes" | wc -l)" ] || [ "$lost" -gt 0 ] || exit 0
    sleep 0.2
done
echo 'The Redis Cluster does not come about.' >&2
exit 1
