#!/usr/bin/env bash
# Every figure that docs/performance.md wants of a GPU, as tables and as JSON in the folder OUT.
#
#   bash experiments/benchmark/gpu.sh OUT [OPTION...]
#
# The options go to each command. DATA_OPTIONS names the data that training is fed from (--dataset
# voc2012 --data-dir DIR), WORKERS its processes, LIMIT the largest batch to try, CONTENDERS who is
# measured beside each other. To see the script run on a CPU: --backbone-width 2 --head-width 4
# --sizes 32 --repeats 1
set -euo pipefail
out=$1
shift
mkdir -p "$out"

measure() { # the name of the JSON file, then the command
  local name=$1
  shift
  python -m experiments.benchmark "$@" --json "$out/$name.json"
}

# shellcheck disable=SC2206  # several words on purpose
contenders=(${CONTENDERS:+--contenders $CONTENDERS})
common=(--precision bfloat16 --sizes 480)
measure train train "${common[@]}" --batches 1 8 32 "${contenders[@]}" "$@"
measure predict predict "${common[@]}" --batches 1 8 32 "${contenders[@]}" "$@"
# shellcheck disable=SC2086  # several words on purpose
measure fed fed "${common[@]}" --batches 32 --workers "${WORKERS:-14}" ${DATA_OPTIONS:-} "$@"
measure profile-train profile "${common[@]}" --batches 32 "$@"
measure profile-predict profile "${common[@]}" --batches 32 --no-training "$@"
measure roofline roofline "${common[@]}" --batches 32 --training "$@"
measure largest-train largest "${common[@]}" --batches 32 --limit "${LIMIT:-1024}" "${contenders[@]}" "$@"
measure largest-predict largest "${common[@]}" --batches 32 --no-training --limit "${LIMIT:-1024}" "${contenders[@]}" "$@"
