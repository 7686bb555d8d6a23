#!/bin/sh
# Installs Debian's chromium for the browser tests, where it is missing and the user may install it.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core >/dev/null
    command -v chromium >/dev/null 2>&1 && exit 0
fi
if [ -n "$CI" ]; then
    echo "chromium is missing and could not be installed" >&2
    exit 1
fi
echo "chromium is missing: the browser tests will be skipped (install it with: apt-get install chromium)"
