#!/usr/bin/env bash
# Runs all tests and measurements that need a GPU, in under 8 minutes, and writes the results into one folder.
#
#   benchmarks/gpu_session.sh OUT [WHEELS] [CIFAR]
#
#   OUT      folder for the results: summary.txt lists what was done and what failed; each part has a file of its own
#   WHEELS   folder with wheels of the packages that are missing; nothing is fetched from a network
#   CIFAR    archive or folder of CIFAR-10; without it the short training is left out
#
# PYTHON (default python3) must have numpy and cupy, and from there or from WHEELS pytest, hypothesis, click, rich, tqdm,
# filelock and tomli-w; nvmath-python needs cuda-bindings, cuda-core and cuda-pathfinder beside it. PyTorch and JAX are
# measured where they are installed. Each part has a time limit; when one fails, the others still run.
set -uo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
"" | -*)
    usage >&2
    exit 2
    ;;
esac
for given in "${@:2}"; do
    [ -e "$given" ] || { echo "error: there is no $given" >&2; exit 2; }
done
OUT=$(mkdir -p "$1" && cd "$1" && pwd) || exit 2
WHEELS=${2:+$(realpath "$2")}
CIFAR=${3:+$(realpath "$3")}
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD XLA_PYTHON_CLIENT_PREALLOCATE=false
SECONDS=0
: >"$OUT/summary.txt"

say() { echo "$*" | tee -a "$OUT/summary.txt"; }

failed=0
part() { # part NAME SECONDS COMMAND...
    local name=$1 limit=$2 left=$((465 - SECONDS)) before=$SECONDS status
    shift 2
    if [ "$left" -lt 5 ]; then
        say "$name: LEFT OUT, no time was left"
        failed=$((failed + 1))
        return
    fi
    timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$OUT/$name.txt" 2>&1
    status=$?
    tail -n 25 "$OUT/$name.txt"
    case $status in
    0) say "$name: done in $((SECONDS - before)) s" ;;
    124 | 137) say "$name: FAILED, stopped after $((SECONDS - before)) s" ;;
    *) say "$name: FAILED with exit code $status after $((SECONDS - before)) s; see $name.txt" ;;
    esac
    [ "$status" -eq 0 ] || failed=$((failed + 1))
}

install() { # each wheel by itself: a wheel that does not fit this Python does not stop the others
    local wheel status=0
    for wheel in "$1"/*.whl; do
        "$PYTHON" -m pip install --no-index --no-deps --quiet "$wheel" || status=1
    done
    return $status
}

environment() {
    nvidia-smi
    "$PYTHON" -m pip list 2>/dev/null
    "$PYTHON" - <<'CHECK'
import importlib
import sys

missing = []
for name in "numpy cupy nvmath pytest hypothesis click rich tqdm filelock tomli_w torch jax".split():
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append(name)
        print(f"{name} cannot be imported: {error}")
from tinymixer.backend import cupy_obstacle

obstacle = cupy_obstacle()
print(obstacle or "CuPy finds a GPU and its libraries")
print("missing:", ", ".join(missing) or "nothing")
sys.exit(1 if obstacle or set(missing) - {"nvmath", "torch", "jax"} else 0)
CHECK
}

train() { # train OUT: times the whole command; asks five times a second how busy the GPU is
    local status
    nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits --loop-ms=200 >"$1-busy.csv" 2>&1 &
    local watcher=$!
    time "$PYTHON" -m tinymixer train cifar10-nano --backend cupy --precision bfloat16 --data "$CIFAR" --out "$1"
    status=$?
    kill "$watcher"
    awk '$1 > 0 {busy += $1; n++} END {if (n) printf "GPU busy %.1f %% of the time, between its first and its last work\n", busy / n}' \
        "$1-busy.csv"
    return $status
}

export -f install environment train
export PYTHON CIFAR
if [ -n "$WHEELS" ]; then part install 60 bash -c 'install "$0"' "$WHEELS"; fi
part environment 45 bash -c environment
# The project's settings name plugins (pytest-timeout) that a bare machine may lack, so they are left aside.
part tests 140 "$PYTHON" -m pytest -c /dev/null --rootdir . --import-mode importlib -p no:cacheprovider -m gpu -q \
    --durations=10 -W ignore::pytest.PytestUnknownMarkWarning tests/kernels tests/engines/cuda tests/gradcheck
part comparison 230 "$PYTHON" -m benchmarks.gpu_table --out "$OUT" --minutes 3
if [ -n "$CIFAR" ]; then
    for try in first cached; do part "training-$try" 70 bash -c 'train "$0"' "$OUT/training-$try"; done
else
    say "training: left out, no CIFAR-10 was given"
fi
part kernels-nano 25 "$PYTHON" -m benchmarks.gpu_kernels --model nano --precision bfloat16 --out "$OUT"
for model in nano small/4; do
    part "profile-${model/\//-}" 25 "$PYTHON" -m tinymixer bench --profile --backend cupy --model "$model" \
        --precision bfloat16
done
echo
echo "$SECONDS s in all; results in $OUT:"
cat "$OUT/summary.txt"
[ "$failed" -eq 0 ]
