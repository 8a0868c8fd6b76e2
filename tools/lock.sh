#!/usr/bin/env bash
# lock.sh BIN: resolve requirements-dev.lock, then requirements.lock as a subset of the same versions, and what the clients in tests/clients/python bring along. Keeps present pins; PIP_COMPILE_ARGS=--upgrade moves them.
set -euo pipefail
bin=$1
export CUSTOM_COMPILE_COMMAND="make lock"
options=(--quiet --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --all-build-deps)
# shellcheck disable=SC2086
"$bin/pip-compile" "${options[@]}" ${PIP_COMPILE_ARGS:-} --extra=dev --output-file=requirements-dev.lock pyproject.toml
cp requirements-dev.lock requirements.lock
"$bin/pip-compile" "${options[@]}" --output-file=requirements.lock pyproject.toml
# shellcheck disable=SC2086
"$bin/pip-compile" "${options[@]}" ${PIP_COMPILE_ARGS:-} --output-file=tests/clients/python/requirements.lock tests/clients/python/requirements.in
