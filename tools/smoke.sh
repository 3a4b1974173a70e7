#!/usr/bin/env bash
# Runs every example for a few steps, in a temporary folder.
#
#   tools/smoke.sh PYTHON
#
# As many run at the same time as there are cores, at most four; each prints
# when it has ended. An example whose data set is neither here nor to be
# downloaded is skipped, and the reason printed. draw_saved_model.py draws what
# the digits left.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cores=$(getconf _NPROCESSORS_ONLN)
export root python

# smoke EXAMPLE: its output, errors and status are those of the example
smoke() {
    local name=${1##*/}
    "$root/tools/quiet.sh" "$python" "$1" --smoke >"$name.out" 2>"$name.err"
    local status=$?
    {
        printf '\n== %s --smoke\n' "$name"
        cat "$name.out"
        if [ $status -ne 0 ] && grep '^The data set' "$name.err" >"$name.why"
        then
            printf 'SKIPPED %s: %s\n' "$name" "$(cat "$name.why")"
            status=0
        else
            cat "$name.err" >&2
        fi
    } >"$name.all" 2>"$name.told"
    cat "$name.all"
    cat "$name.told" >&2
    return $status
}
export -f smoke

find "$root/examples" -name '*.py' ! -name draw_saved_model.py -print0 |
    sort -z |
    xargs -0 -n 1 -P "$((cores < 4 ? cores : 4))" bash -c 'smoke "$1"' smoke ||
    exit 1 # xargs says 123

run=runs/smoke-ddpm-digits
if [ ! -d "$run/saved_model" ]; then # the backend cannot export a sampler
    printf '\nSKIPPED draw_saved_model.py: %s has no saved_model\n' "$run"
    exit
fi
printf '\n== draw_saved_model.py %s\n' "$run"
"$root/tools/quiet.sh" "$python" "$root/examples/draw_saved_model.py" "$run"
