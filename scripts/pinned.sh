#!/bin/sh
# Runs a command with the Node that package.json pins first on the PATH, whatever Node and npm the machine has: npm below
# 10 links the pinned one into node_modules/.bin, and takes the link away again with the package for the other processor.
for bin in "$PWD"/node_modules/node-linux-*/bin; do
  if [ -x "$bin/node" ]; then PATH=$bin:$PATH; fi
done
export PATH
# npm also leaves out optional packages that the machine's own Node is too old for, silently: once more, with the pinned one.
if [ -d node_modules ] && ! ls -d node_modules/@rolldown/binding-* >/dev/null 2>&1; then
  echo "completing the installation with Node $(node --version)" >&2
  npm ci --loglevel=error >&2
fi
exec "$@"
