#!/usr/bin/env bash
# Trains the recipes for a GPU, in commands of under 9 minutes: run it again until it says that all is done.
#
#   benchmarks/gpu_recipes.sh OUT CIFAR [SECONDS]
#
#   OUT      folder for the runs; summary.md is the page to read
#   CIFAR    archive or folder of CIFAR-10
#   SECONDS  time limit of one command (default 520)
#
# In this order: cifar10-fast (60 s) with three seeds, the same in 50, 40 and 30 s (the time to an accuracy is the
# smallest that reaches it), cifar10-best with one seed, then with two more. All images are trained on, none is held back,
# and the last averaged weights are tested once. What the time limit cuts off is stopped by SIGINT, which saves, and the
# next command resumes it exactly. PYTHON (default python3) must have what tinymixer needs, and CuPy.
# It exits with 0 when all runs are tested, with 3 when some are left.
set -uo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
esac
[ $# -ge 2 ] || { usage >&2; exit 2; }
[ -e "$2" ] || { echo "error: there is no $2" >&2; exit 2; }
OUT=$(mkdir -p "$1" && cd "$1" && pwd) || exit 2
CIFAR=$(realpath "$2")
LIMIT=${3:-520}
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
SECONDS=0
left=0

tested() { [ -f "$1/metrics.jsonl" ] && tail -n 1 "$1/metrics.jsonl" | grep -q '"test_accuracy"'; }

run() { # run NAME RECIPE OPTIONS...
    local name=$1 remaining=$((LIMIT - SECONDS)) options
    shift
    tested "$OUT/$name" && return
    if [ "$remaining" -lt 75 ]; then
        left=$((left + 1))
        return
    fi
    if [ -f "$OUT/$name/last.npz" ]; then options=(--resume); else options=("${@:2}" --validation-share 0); fi
    # A run with a budget is not begun where the budget does not fit: its seconds count from its own command.
    timeout -s INT -k 30 "$((remaining - 15))" "$PYTHON" -m tinymixer train "$1" --data "$CIFAR" --backend cupy \
        --out "$OUT/$name" "${options[@]}" 2>&1 | tee -a "$OUT/$name.log" | tail -n 5
    tested "$OUT/$name" || left=$((left + 1))
}

nvidia-smi >"$OUT/nvidia-smi.txt" 2>&1
for seed in 0 1 2; do run "fast-60s-$seed" cifar10-fast --seed "$seed"; done
for budget in 50 40 30; do run "fast-${budget}s-0" cifar10-fast --seconds "$budget"; done
for seed in 0 1 2; do run "best-$seed" cifar10-best --seed "$seed"; done
"$PYTHON" - "$OUT" >"$OUT/summary.md" <<'PYTHON'
import pathlib
import sys
import tomllib

from tinymixer.training.history import read_rows

print("| run | steps | seconds | test accuracy |\n|---|--:|--:|--:|")
for metrics in sorted(pathlib.Path(sys.argv[1]).glob("*/metrics.jsonl")):
    rows, config = read_rows(metrics), tomllib.loads((metrics.parent / "config.toml").read_text())
    if "test_accuracy" in rows[-1]:
        seconds, accuracy = sum(row["seconds"] for row in rows), 100 * rows[-1]["test_accuracy"]
        print(f"| {metrics.parent.name} | {config['training']['steps']} | {seconds:.0f} | {accuracy:.2f} % |")
PYTHON
cat "$OUT/summary.md"
[ "$left" -eq 0 ] && { echo "all runs are done"; exit 0; }
echo "$left runs are left: run the same command again"
exit 3
