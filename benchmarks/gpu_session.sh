#!/usr/bin/env bash
# Everything that can only be found out on a GPU, in under 8 minutes, into one folder.
#
#   benchmarks/gpu_session.sh OUT [WHEELS] [CIFAR]
#
#   OUT      folder for the results: environment.txt, tests.txt, table.txt, table.json, profile-*.txt, training-*/, ...
#   WHEELS   folder with wheels of what is missing (nvmath-python, tomli-w, ...); nothing is fetched from a network
#   CIFAR    archive or folder of CIFAR-10; without it the short training is left out
#
# PYTHON (default python3) must have numpy, cupy, pytest, hypothesis, click, rich and tqdm; torch and jax are compared
# with where they are there. Each part has a time limit and its own file, so that one that fails costs the others nothing.
set -uo pipefail
: "${1:?usage: gpu_session.sh OUT [WHEELS] [CIFAR]}"
OUT=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
WHEELS=${2:+$(cd "$2" && pwd)}
CIFAR=${3:+$(realpath "$3")}
cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD XLA_PYTHON_CLIENT_PREALLOCATE=false
started=$SECONDS

part() { # part NAME SECONDS COMMAND...
    local name=$1 limit=$2 left=$((470 - (SECONDS - started)))
    shift 2
    if [ "$left" -lt 5 ]; then
        echo "$name: left out, no time was left" | tee -a "$OUT/summary.txt"
        return
    fi
    local before=$SECONDS
    timeout "$((limit < left ? limit : left))" "$@" >"$OUT/$name.txt" 2>&1
    local status=$?
    echo "$name: exit $status after $((SECONDS - before)) s" | tee -a "$OUT/summary.txt"
    tail -n 25 "$OUT/$name.txt"
}

: >"$OUT/summary.txt"
if [ -n "$WHEELS" ]; then
    part install 60 "$PYTHON" -m pip install --no-index --find-links "$WHEELS" nvmath-python cuda-bindings cuda-core tomli-w
fi
part environment 30 bash -c 'nvidia-smi; "$0" -m pip list 2>/dev/null' "$PYTHON"
# The project's settings name plugins (pytest-timeout) that a bare machine may lack, so they are left aside.
part tests 150 "$PYTHON" -m pytest -c /dev/null --rootdir . --import-mode importlib -p no:cacheprovider -m gpu -q \
    --durations=10 -W ignore::pytest.PytestUnknownMarkWarning tests/kernels tests/captured
part profile-nano-bf16 30 "$PYTHON" -m tinymixer bench --profile --backend cupy --model nano --precision bfloat16
part profile-small4-bf16 30 "$PYTHON" -m tinymixer bench --profile --backend cupy --model small/4 --precision bfloat16
if [ -n "$CIFAR" ]; then
    for try in first cached; do
        part "training-$try" 70 bash -c 'time "$0" -m tinymixer train cifar10-nano --backend cupy --precision bfloat16 \
            --data "$1" --out "$2"' "$PYTHON" "$CIFAR" "$OUT/training-$try"
    done
else
    echo "training: left out, no CIFAR-10 was given" | tee -a "$OUT/summary.txt"
fi
part table 300 "$PYTHON" -m benchmarks.gpu_table --out "$OUT" --minutes 3
echo "$((SECONDS - started)) s in all; results in $OUT" | tee -a "$OUT/summary.txt"
