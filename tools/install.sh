#!/usr/bin/env bash
# install.sh PYTHON VENV LOCK STAMP: bring VENV to what LOCK names, hashes checked, and put our own console script into it.
set -euo pipefail
python=$1 venv=$2 lock=$3 stamp=$4

if [ "$(uname -s)" != Linux ]; then
    echo "Scrubjay runs on Linux only; this is $(uname -s). In a Linux container: docker compose up" >&2
    exit 1
fi
if [ -z "$python" ]; then
    echo "Scrubjay needs Python 3.11 or newer; none was found on PATH. Install one, or name it: make install PYTHON=/path/to/python3" >&2
    exit 1
fi
mkdir -p "$(dirname "$venv")"
# Two `make` at once (demo in one terminal, test in another) must not install into each other.
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi

digest=$(cat "$lock" pyproject.toml | cksum | tr ' ' '-')
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ]; then
    touch "$stamp"
    exit 0
fi
if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -m venv "$venv" 2>"$venv.err"; then
        cat "$venv.err" >&2
        rm -rf "$venv" "$venv.err"
        echo "\"$python -m venv\" failed; on Debian and Ubuntu install python3-venv, then run make again" >&2
        exit 1
    fi
    rm -f "$venv.err"
fi
echo "installing $lock into $venv" >&2
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install --require-hashes --only-binary :all: -r "$lock"
# setuptools is in the lock, so this builds nothing from the network.
"${pip[@]}" install --no-deps --no-build-isolation --no-index -e .
echo "$digest" >"$stamp"
