#!/usr/bin/env bash
# Runs all tests and measurements that need a GPU, in under 8 minutes, and packs the results into one archive.
#
#   benchmarks/gpu_session.sh OUT [WHEELS] [CIFAR]
#
#   OUT      folder for the results: summary.md is the page to read, parts.txt lists what was done and what failed, each
#            part has a file of its own; all of it is in OUT.tar.gz, which is the one file to carry away
#   WHEELS   folder with wheels of the packages that are missing; nothing is fetched from a network
#   CIFAR    archive or folder of CIFAR-10, for the training at the end; without it the digits are trained
#
# PYTHON (default python3) must have numpy and cupy, and from there or from WHEELS pytest, hypothesis, click, rich, tqdm,
# filelock and tomli-w; nvmath-python needs cuda-bindings, cuda-core and cuda-pathfinder beside it. PyTorch and JAX are
# measured where they are installed. In the order of what one wants to know first: does the step prove itself (30 s), is
# it right and captured (60 s), are there races or stray accesses (60 s), where does the time go (70 s), the table beside
# the peers (100 s), the tests, the captured step's first (95 s), one training run (40 s). Each part has a time limit and writes its results as they come;
# when one fails, or the session is cut off, the others stay.
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
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
SECONDS=0
WHOLE=475 # seconds
: >"$OUT/parts.txt"

say() { echo "- $*" | tee -a "$OUT/parts.txt"; }

pack() { # once, however the session ends: the page to read, and the archive
    trap - EXIT
    "$PYTHON" -m benchmarks.gpu_summary "$OUT" >"$OUT/summary.md" 2>"$OUT/summary-errors.txt" ||
        { echo "# GPU session"; echo; cat "$OUT/parts.txt"; } >"$OUT/summary.md"
    tar -C "$(dirname "$OUT")" -czf "$OUT.tar.gz" --exclude='*.npz' "$(basename "$OUT")" 2>>"$OUT/summary-errors.txt"
    echo
    echo "$SECONDS s in all; the page to read is $OUT/summary.md, the archive to carry away $OUT.tar.gz"
}
trap pack EXIT
child=
stop() {
    [ -z "$child" ] || kill -INT -- "-$child" 2>/dev/null
    exit 130
}
trap stop INT TERM HUP
set -m # each part in a process group of its own, which SIGINT reaches; `wait` lets this script be stopped meanwhile

failed=0
part() { # part NAME SECONDS COMMAND...: SIGINT at the limit, so that Python ends in order and says where it was
    local name=$1 limit=$2 left=$((WHOLE - SECONDS)) before=$SECONDS status
    shift 2
    if [ "$left" -lt 5 ]; then
        say "$name: LEFT OUT, no time was left"
        failed=$((failed + 1))
        return
    fi
    timeout -s INT -k 10 "$((limit < left ? limit : left))" "$@" >"$OUT/$name.log" 2>&1 &
    child=$!
    wait "$child"
    status=$?
    child=
    [ -e "$OUT/$name.txt" ] || mv "$OUT/$name.log" "$OUT/$name.txt"
    tail -n 25 "$OUT/$name.txt"
    case $status in
    0) say "$name: done in $((SECONDS - before)) s" ;;
    124 | 137) say "$name: FAILED, stopped after $((SECONDS - before)) s; what it had found is in $name.txt" ;;
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

sanitize() { # sanitize TOOL
    local sanitizer
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) ||
        { echo "compute-sanitizer is not installed"; return 3; }
    "$sanitizer" --tool "$1" --error-exitcode 9 "$PYTHON" -m benchmarks.gpu_sanitizer
}

train() { # train RECIPE OPTIONS...: times the whole command; asks five times a second how busy the GPU is
    local status busy="$OUT/training-busy.csv"
    nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits --loop-ms=200 >"$busy" 2>&1 &
    local watcher=$!
    time "$PYTHON" -m tinymixer train "$@" --backend cupy --precision bfloat16 --out "$OUT/run"
    status=$?
    kill "$watcher"
    awk '$1 > 0 {busy += $1; n++} END {if (n) printf "GPU busy %.1f %% of the time, between its first and its last work\n", busy / n}' "$busy"
    return $status
}

export -f install sanitize train
export PYTHON OUT
nvidia-smi >"$OUT/nvidia-smi.txt" 2>&1
"$PYTHON" -m pip list >"$OUT/pip-list.txt" 2>/dev/null
if [ -n "$WHEELS" ]; then part install 60 bash -c 'install "$0"' "$WHEELS"; fi
part environment 20 "$PYTHON" -m benchmarks.gpu_environment --out "$OUT"
# Each precision's step beside the layers. Its reports, where one is wrong, lie in proof-cache/gpu-proofs.
part proof 30 env TINYMIXER_CACHE="$OUT/proof-cache" "$PYTHON" -m tinymixer doctor --gpu --json
part steps 60 "$PYTHON" -m benchmarks.gpu_steps --out "$OUT"
for tool in racecheck memcheck; do part "$tool" 30 bash -c 'sanitize "$0"' "$tool"; done
for model in nano small/4; do
    part "profile-${model/\//-}" 25 "$PYTHON" -m tinymixer bench --profile --backend cupy --model "$model" \
        --precision bfloat16
done
part kernels 20 "$PYTHON" -m benchmarks.gpu_kernels --model nano --precision bfloat16 --out "$OUT"
part table 100 "$PYTHON" -m benchmarks.gpu_table --out "$OUT" --minutes 1.4
# The project's settings name plugins (pytest-timeout) that a bare machine may lack, so they are left aside. -v writes a
# line per test, so that a session that is cut off has them.
part tests 95 "$PYTHON" -m pytest -c /dev/null --rootdir . --import-mode importlib -p no:cacheprovider -m gpu -v \
    --durations=10 -W ignore::pytest.PytestUnknownMarkWarning tests/engines/cuda/test_captured_step.py \
    tests/engines/cuda/test_on_a_gpu.py tests/engines/cuda tests/kernels tests/gradcheck
if [ -n "$CIFAR" ]; then
    part training 40 bash -c 'train "$@"' train cifar10-nano --data "$CIFAR"
else
    part training 40 bash -c 'train "$@"' train digits
fi
[ "$failed" -eq 0 ]
