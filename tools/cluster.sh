#!/bin/bash
# A cluster of four processes on this machine: three storage nodes in three zones and the durability process, all that belongs to it below one folder.
#   tools/cluster.sh start|stop [FOLDER]      FOLDER: ./cluster unless given. SCRUBJAY: the program, .venv/bin/scrubjay unless given. PORT: the first of the addresses of a
#                                             new cluster (8000): the API takes PORT to PORT + 3, nodes among themselves PORT - 999 to PORT - 997.
# start: prints where each process answers, once all of them serve; 3 if a node stays out, with why. stop: 0 when everything acknowledged is archived, 3 when some of it stays in the logs.
set -euo pipefail
what=${1:-}
folder=$(realpath -m "${2:-cluster}")
scrubjay=${SCRUBJAY:-.venv/bin/scrubjay}
file=$folder/cluster.toml
port=${PORT:-8000}
PATIENCE_S=90
ARCHIVE_S=40

write_file() {
    {
        echo '[cluster]'
        echo 'metadata = ["n1", "n2", "n3"]'
        for number in 1 2 3; do
            printf '[nodes.n%s]\nzone = "z%s"\ndata = "%s/n%s"\nlisten = "127.0.0.1:%s"\npeer = "127.0.0.1:%s"\n' \
                "$number" "$number" "$folder" "$number" "$((port + number))" "$((port - 1000 + number))"
        done
        printf '[durability]\nlisten = "127.0.0.1:%s"\ndata = "%s/durability"\n[archive]\nurl = "file://%s/archive"\n' "$port" "$folder" "$folder"
    } >"$file"
}

# Where the durability process answers, by the file of the cluster that is there.
endpoint() { echo "http://$(sed -n '/^\[durability\]/,/^\[/s/^listen *= *"\(.*\)".*/\1/p' "$file")"; }

# A process that died and that nobody has taken note of yet (a zombie: in a container that may be for long) still gets signals, and does nothing any more.
alive() {
    local pid
    pid=$(cat "$folder/$1.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && [[ $(ps -o stat= -p "$pid" 2>/dev/null) != Z* ]]
}

launch() {
    local name=$1
    shift
    if alive "$name"; then return; fi
    : >"$folder/$name.out"
    touch "$folder/$name.log"
    stat -c %s "$folder/$name.log" >"$folder/$name.from"
    setsid nohup "$scrubjay" serve --config "$file" "$@" >"$folder/$name.out" 2>>"$folder/$name.log" </dev/null &
    echo $! >"$folder/$name.pid"
}

# Why a node stays out, as its log says since it was launched; fails if it does not.
stays_out() {
    [ -f "$folder/$1.from" ] && tail -c "+$(($(cat "$folder/$1.from") + 1))" "$folder/$1.log" |
        awk '/stays out/ && !found { found = 1; print } END { exit !found }'
}

# Bytes of tables that the archive lacks; what the cluster notes of itself never stands still.
unarchived() {
    "$scrubjay" archive status --endpoint "$(endpoint)" --json 2>/dev/null | "$(dirname "$scrubjay")/python" -c \
        'import json, sys; print(sum(one["unarchived_bytes"] for one in json.load(sys.stdin)["tables"] if not one["table"].startswith("_")))'
}

case $what in
start)
    mkdir -p "$folder"
    [ -f "$file" ] || write_file
    for name in n1 n2 n3; do launch "$name" --role node --name "$name"; done
    launch durability --role durability
    until=$((SECONDS + PATIENCE_S))
    until "$scrubjay" cluster init --config "$file" >/dev/null 2>"$folder/init.log"; do
        if [ $SECONDS -ge $until ]; then cat "$folder/init.log" >&2; exit 1; fi
        sleep 0.5
    done
    status=0
    for name in n1 n2 n3 durability; do
        until grep -q '^ready ' "$folder/$name.out"; do
            if why=$(stays_out "$name"); then
                echo "$name stays out, the others serve without it: $why" >&2
                status=3
                continue 2
            fi
            if ! alive "$name" || [ $SECONDS -ge $until ]; then tail -n 5 "$folder/$name.log" >&2; exit 1; fi
            sleep 0.2
        done
        echo "$name $(sed -n 's/^ready //p' "$folder/$name.out")"
    done
    exit $status
    ;;
stop)
    left=unknown
    until=$((SECONDS + ARCHIVE_S))
    while alive durability && [ $SECONDS -lt $until ]; do
        left=$(unarchived || echo unknown)
        [ "$left" != 0 ] || break
        sleep 0.5
    done
    for name in durability n1 n2 n3; do if alive "$name"; then kill -TERM "$(cat "$folder/$name.pid")"; fi; done
    for name in durability n1 n2 n3; do
        while alive "$name"; do sleep 0.1; done
        rm -f "$folder/$name.pid"
    done
    if [ "$left" != 0 ]; then
        echo "stopped; bytes not archived yet: $left. They stay in the nodes' logs and are archived after the next start" >&2
        exit 3
    fi
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
