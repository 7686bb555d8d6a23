#!/bin/sh
# Installs what the tests drive from outside, Debian's chromium, curl and jq, where they are missing and may be installed.
there() { command -v chromium >/dev/null 2>&1 && command -v curl >/dev/null 2>&1 && command -v jq >/dev/null 2>&1; }
there && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing chromium, curl and jq for the tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core curl jq >/dev/null
    there && exit 0
fi
if [ -n "$CI" ]; then
    echo "chromium, curl or jq is missing and could not be installed" >&2
    exit 1
fi
echo "chromium, curl or jq is missing: some tests will fail or be skipped (apt-get install chromium curl jq)"
