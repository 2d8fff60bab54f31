#!/bin/sh
# Runs a command with the Node that package.json pins first on the PATH, whatever Node and npm the machine has: npm below
# 10 links the pinned one into node_modules/.bin, and takes the link away again with the package for the other processor.
for bin in "$PWD"/node_modules/node-linux-*/bin; do
  if [ -x "$bin/node" ]; then PATH=$bin:$PATH; fi
done
export PATH
exec "$@"
