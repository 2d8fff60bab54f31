#!/bin/sh
# Makes /srv/git/site.git, each time anew, with one commit on main: the first page.
set -eu
repository=/srv/git/site.git
rm -rf "$repository"
export GIT_AUTHOR_NAME=example GIT_AUTHOR_EMAIL=example@example.com
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
tree=$(mktemp -d)
git init --quiet --initial-branch=main "$tree"
echo '<h1>Version 1</h1>' >"$tree/index.html"
git -C "$tree" add index.html
git -C "$tree" commit --quiet --message='The first page'
git clone --quiet --bare "$tree" "$repository"
rm -rf "$tree"
git -C "$repository" config http.receivepack true
git -C "$repository" config core.hooksPath /usr/local/lib/git-server/hooks
