#!/usr/bin/env bash
# Runs every example for a few steps, in a temporary folder.
#
#   tools/smoke.sh PYTHON
#
# An example whose data set is neither here nor to be downloaded is skipped,
# and the reason printed. draw_saved_model.py draws what the digits left.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

for example in "$root"/examples/*.py; do
    name=${example##*/}
    if [ "$name" = draw_saved_model.py ]; then continue; fi
    printf '\n== %s --smoke\n' "$name"
    if "$root/tools/quiet.sh" "$python" "$example" --smoke 2>stderr; then
        cat stderr >&2
    elif grep '^The data set' stderr >reason; then
        printf 'SKIPPED %s: %s\n' "$name" "$(cat reason)"
    else
        cat stderr >&2
        exit 1
    fi
done

run=runs/smoke-ddpm-digits
if [ ! -d "$run/saved_model" ]; then # the backend cannot export a sampler
    printf '\nSKIPPED draw_saved_model.py: %s has no saved_model\n' "$run"
    exit
fi
printf '\n== draw_saved_model.py %s\n' "$run"
"$root/tools/quiet.sh" "$python" "$root/examples/draw_saved_model.py" "$run"
