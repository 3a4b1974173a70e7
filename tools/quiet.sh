#!/usr/bin/env bash
# Runs a command without the lines that TensorFlow writes while it starts.
# Since 2.17 some come before it reads TF_CPP_MIN_LOG_LEVEL (its issue 100442);
# warnings and errors of other origin pass. Standard output is not touched.
set -u
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
noise='^WARNING: All log messages before absl::InitializeLog|^[IW][0-9]{4} [0-9:.]+ +[0-9]+ [A-Za-z0-9_]+\.cc:[0-9]+\]'

# ends once all is written, also what the command still says after Ctrl-C
filter() {
    trap '' INT
    LC_ALL=C grep -a --line-buffered -Ev "$noise" >&2
}

{
    "$@" 2>&1 1>&3 3>&- | filter 3>&-
    exit "${PIPESTATUS[0]}"
} 3>&1
