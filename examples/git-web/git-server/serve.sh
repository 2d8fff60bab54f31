#!/bin/sh
# Serves http://<this container>:8081/site.git, and makes it with its first page where it is not there.
set -eu
[ -e /srv/git/site.git ] || /usr/local/lib/git-server/make-repository.sh
exec lighttpd -D -f /usr/local/lib/git-server/lighttpd.conf
