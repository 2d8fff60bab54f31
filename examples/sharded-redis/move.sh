#!/bin/sh
# Copies to shard-4 the users that topology/next.yml places there, from the shards that have them now. The shards do it
# between themselves while the application works; what it changes meanwhile is not copied once more.
set -eu
cd "$(dirname "$0")"
explain='/usr/bin/node /app/main.js explain --topology /topology/next.yml --'
for shard in redis-1 redis-2 redis-3; do
  docker compose exec -T $shard redis-cli --scan |
    xargs -r -d '\n' docker compose exec -T ambassador-shard $explain |
    sed -n 's/^"\(.*\)" is on shard-4 at .*/\1/p' |
    xargs -r -d '\n' docker compose exec -T $shard redis-cli migrate redis-4 6379 '' 0 5000 copy replace keys
done
