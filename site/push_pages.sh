#!/usr/bin/env bash
# Put the built site on the branch gh-pages of origin, beside the releases that are there.
#
#   site/push_pages.sh build/site MESSAGE            the newest
#   site/push_pages.sh build/site MESSAGE v0.2.0     a release
#
# The branch is one commit without a past: it holds what is shown, not every version of it that ever was. Where another
# run pushed meanwhile, what that one put there is fetched and kept, and this one is tried again.
set -euo pipefail
site=$(realpath "$1") message=$2 release=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
pages=$(mktemp -d)
trap 'git worktree remove --force "$pages/tree" 2>/dev/null || true; rm -rf "$pages"' EXIT

for attempt in 1 2 3 4 5; do
    git worktree remove --force "$pages/tree" 2>/dev/null || true
    # Only a branch that is known to be missing begins anew: a server that does not answer must not cost the releases.
    if [ -n "$(git ls-remote --heads origin refs/heads/gh-pages)" ]; then
        git fetch --quiet origin gh-pages
        seen=$(git rev-parse FETCH_HEAD)
        git worktree add --quiet --detach "$pages/tree" "$seen"
    else
        seen=
        git worktree add --quiet --detach --no-checkout "$pages/tree" HEAD
    fi
    "$python" "$here/publish.py" "$site" "$pages/tree" ${release:+"$release"}
    tree=$(cd "$pages/tree" && git add --all && git write-tree)
    commit=$(git commit-tree "$tree" -m "$message")
    if git push --quiet --force-with-lease="gh-pages:$seen" origin "$commit:refs/heads/gh-pages"; then
        exit 0
    fi
    echo "attempt $attempt: gh-pages could not be pushed, or changed meanwhile" >&2
    sleep "${TINYMIXER_PUSH_WAIT:-5}"
done
echo "error: gh-pages could not be pushed in five attempts: see above why, and run the workflow again" >&2
exit 1
