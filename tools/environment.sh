#!/usr/bin/env bash
# Makes sure that .venv holds what a make target needs; silent when it does.
#
#   tools/environment.sh [SET ...]    a SET is `library`, `torch`, or an extra
#                                     of setup.py: test, jax, parity ...
#   tools/environment.sh legacy       peers of Keras 2, which stand no other
#                                     set, and not the library, beside them;
#                                     and those that patch or crowd Keras 3
#
# Reads PYTHON (which interpreter), VENV (where), TORCH (pip's words for
# PyTorch, for example TORCH="torch --index-url ADDRESS").
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
LEGACY=(tensorflow==2.21.0 tf_keras==2.21.0)
# they ask for an old Keras, or for none, or for more than the tests need
LEGACY_PEERS=(keras-ordered-neurons==0.10.0 bert4keras==0.11.5
    jieba==0.42.1 sentencepiece==0.2.3 bert4keras3==1.6.6
    keras-hub==0.32.0 regex==2026.11.19 tokenizers==0.23.3)
# a peer of `parity` that would bring more than the benchmark needs
PARITY_ALONE=(keras-hub==0.32.0)
TORCH=${TORCH:-torch==2.13.0}
NEEDED_GB=${NEEDED_GB:-4}
OURS=$VENV/.su_models   # our notes on what is installed
MADE=$OURS/made-here    # only where we made the environment: may be removed
LOG=$VENV/install.log

fail() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

supported() {
    case $1 in 3.11 | 3.12 | 3.13) ;; *) return 1 ;; esac
}

find_python() {
    local found="" version candidate
    local candidates=(python3 python3.13 python3.12 python3.11)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        version=$(version_of "$candidate") || continue
        if supported "$version"; then
            printf '%s' "$candidate"
            return
        fi
        found+=", $candidate is $version"
    done
    found=${found#, }
    fail "su_models needs Python 3.11, 3.12 or 3.13. Looked for ${candidates[*]}: ${found:-found none}." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

check_disk() {
    local free_kb folder=$VENV # or, while it is not there, what will hold it
    until [ -d "$folder" ]; do folder=$(dirname -- "$folder"); done
    folder=$(cd -- "$folder" && pwd)
    free_kb=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
    if [ "$free_kb" -lt $((NEEDED_GB * 1024 * 1024)) ]; then
        fail "Installing needs $NEEDED_GB GB of free disk; $folder has $((free_kb / 1024 / 1024)) GB." \
            "Free some, or install elsewhere: make VENV=/path/on/another/disk ..."
    fi
}

usable() {
    local version
    version=$(version_of "$VENV/bin/python") && supported "$version" || return 1
    "$VENV/bin/python" -c 'import pip' 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || [ "$version" = "$(version_of "$PYTHON")" ]
}

ensure_venv() {
    local python
    if usable; then return; fi
    if [ -e "$VENV" ] && [ ! -f "$MADE" ]; then
        fail "$VENV exists, was not made by this script, and is no environment of the wanted Python." \
            "Move it away, or choose another: make VENV=other-folder ..."
    fi
    python=$(find_python)
    check_disk
    rm -rf "$VENV"
    mkdir -p "$OURS"
    touch "$MADE"
    if ! "$python" -m venv "$VENV" >"$LOG" 2>&1; then
        fail "$python could not make a virtual environment (on Debian: apt install python3-venv)." \
            "Its own words: $LOG"
    fi
}

explain() {
    local why
    if grep -q "No space left on device" "$LOG"; then
        why="The disk filled up while installing."
    elif grep -qE "from versions: none|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|name resolution|Network is unreachable|Connection (refused|reset)" "$LOG"; then
        why="pip could not reach its package index. Is there a network?"
    else
        why="pip could not install: $(grep -E '^ *(ERROR|error)' "$LOG" | tail -n 1)"
    fi
    fail "$why" "All that pip said: $LOG"
}

# What an installed set depends on; another key means: install again.
key() {
    printf '%s %s %s' "$PWD" "$TORCH" "$(cat setup.py pyproject.toml tools/environment.sh | cksum)"
}

install() {
    local extras=() words=() set
    for set in "$@"; do
        case $set in
            library) ;;
            torch)
                read -ra words <<<"$TORCH"
                ;;
            *) extras+=("$set") ;;
        esac
    done
    check_disk
    printf 'Installing for su_models (%s) into %s; some minutes, once ... ' \
        "$*" "$VENV"
    : >"$LOG"
    local pip=("$VENV/bin/python" -m pip install --no-input
        --disable-pip-version-check)
    if [ "$*" = legacy ]; then
        "${pip[@]}" "${LEGACY[@]}" >>"$LOG" 2>&1 || explain
        "${pip[@]}" --no-deps "${LEGACY_PEERS[@]}" >>"$LOG" 2>&1 || explain
        printf 'done.\n'
        return
    fi
    # PyTorch first, so that no peer pulls in another build of it
    if [ ${#words[@]} -gt 0 ]; then
        "${pip[@]}" "${words[@]}" >>"$LOG" 2>&1 || explain
    fi
    local joined
    joined=$(IFS=, && printf '%s' "${extras[*]-}")
    "${pip[@]}" -e ".${joined:+[$joined]}" >>"$LOG" 2>&1 || explain
    if [[ " $* " == *" parity "* ]]; then
        "${pip[@]}" --no-deps "${PARITY_ALONE[@]}" >>"$LOG" 2>&1 || explain
    fi
    printf 'done.\n'
}

missing=()
ensure_venv
for set in "$@"; do
    if [ "$(cat "$OURS/$set" 2>/dev/null)" != "$(key)" ]; then
        missing+=("$set")
    fi
done
if [ ${#missing[@]} -gt 0 ]; then
    mkdir -p "$OURS"
    install "${missing[@]}"
    for set in "${missing[@]}"; do key >"$OURS/$set"; done
fi
