#!/bin/sh
# Asks as one of the clients: call.sh shop /hello. Further arguments are curl's.
set -eu
client=$1 path=$2
shift 2
# The sidecar may not be up yet: in a pod all containers start together.
exec curl --silent --show-error --fail --max-time 20 --retry 10 --retry-delay 1 --retry-connrefused \
  --cacert /clients/ca.crt --cert "/clients/$client.crt" --key "/clients/$client.key" "$@" "$SERVER$path"
