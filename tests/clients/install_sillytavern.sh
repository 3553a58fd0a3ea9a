#!/usr/bin/env bash
# Puts SillyTavern, for the tests that drive it, into .venv/sillytavern (430 MB); needs
# Node 20 and npm. Nothing that the packages would run at their installation is run.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=1.19.0
folder=.venv/sillytavern
installed=$folder/node_modules/sillytavern/package.json

if ! grep -qs "\"version\": \"$version\"" "$installed"; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
        "sillytavern@$version"
fi
