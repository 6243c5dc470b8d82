#!/usr/bin/env bash
# Builds the Debian package and tries it in a clean tree.
set -eu
cd "$(dirname "$0")/../.."
packaging/build-deb
tests/clients/deb.sh "$(ls -t target/debian/*.deb | head -n 1)"
