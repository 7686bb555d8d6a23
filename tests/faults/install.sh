#!/bin/sh
# Installs what the fault tests break things with, strace and a C compiler, where they are missing and may be installed.
there() { command -v strace >/dev/null 2>&1 && echo "int main(void){return 0;}" | cc -x c -o /dev/null - 2>/dev/null; }
there && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing strace and gcc for the fault tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        strace gcc libc6-dev >/dev/null
    there && exit 0
fi
if [ -n "$CI" ]; then
    echo "strace or a C compiler is missing and could not be installed" >&2
    exit 1
fi
echo "strace or a C compiler is missing: some fault tests will be skipped (install them with: apt-get install strace gcc)"
