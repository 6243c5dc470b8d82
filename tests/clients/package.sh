#!/usr/bin/env bash
# Makes the Debian package, of the build that all tests use, and tries it in a clean tree.
set -eu
cd "$(dirname "$0")/../.."
packaging/build-deb --no-build --profile dev
tests/clients/deb.sh "$(ls -t target/debian/*.deb | head -n 1)"
