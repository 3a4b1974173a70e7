#!/usr/bin/env bash
# Runs a command without the lines that TensorFlow writes while it starts.
# Since 2.17 some come before it reads TF_CPP_MIN_LOG_LEVEL (its issue 100442);
# warnings and errors of other origin pass.
set -euo pipefail
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
noise='^WARNING: All log messages before absl::InitializeLog|^[IW][0-9]{4} [0-9:.]+ +[0-9]+ [A-Za-z0-9_]+\.cc:[0-9]+\]'
exec "$@" 2> >(grep --line-buffered -Ev "$noise" >&2)
