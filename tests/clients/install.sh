#!/usr/bin/env bash
# Installs other people's client libraries into .venv/clients, for the tests of libraries that are
# marked slow: Python's in an environment of their own, Node's beside it. Anew when a list changes.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/clients
there=.venv/clients
lists="$here/requirements.txt $here/node/package.json $here/node/package-lock.json"
if cat $lists | cmp --silent - "$there/.installed"; then exit; fi

rm -rf "$there"
.venv/bin/python -m venv "$there"
"$there/bin/python" -m pip install -qq --disable-pip-version-check --no-deps \
    -r "$here/requirements.txt"
if command -v npm >/dev/null; then
    mkdir "$there/node"
    cp $here/node/package*.json "$there/node"
    (cd "$there/node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
else
    echo "no npm: the tests of Node's libraries will skip" >&2
fi
cat $lists >"$there/.installed"
