#!/usr/bin/env bash
# Print the path of promtool, which evaluates Prometheus' rules as Prometheus does: the one on PATH, or the one of Debian's package `prometheus`, fetched once per
# machine into the cache and unpacked there. The package is not installed: it would start a server.
set -euo pipefail
if command -v promtool; then exit 0; fi
cache=${SCRUBJAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/scrubjay}/promtool
if [ -x "$cache/promtool" ]; then
    echo "$cache/promtool"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "no promtool on PATH, and no apt-get to fetch it with" >&2
    exit 1
fi
mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -x "$cache/promtool" ]; then
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    fetch() { (cd "$work" && apt-get download -q prometheus) >"$work/log" 2>&1; }
    if ! fetch && ! { [ "$(id -u)" -eq 0 ] && apt-get update -q >>"$work/log" 2>&1 && fetch; }; then
        tail -n 3 "$work/log" >&2
        exit 1
    fi
    dpkg-deb -x "$work"/prometheus_*.deb "$work/unpacked"
    mv "$work/unpacked/usr/bin/promtool" "$cache/promtool"  # a rename: nobody ever sees half a binary
fi
echo "$cache/promtool"
