#!/usr/bin/env bash
# The demonstration: two sandbox servers, a first deployment, a change of one
# service, a broken change that is rolled back by itself. Everything is real, and
# stays up to play with; `make demo-down` removes it.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname -- "$here")
export CM_SANDBOX=${CM_SANDBOX:-demo}
began=$SECONDS

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
title() { printf '\n%s=== %s%s\n' "$bold" "$1" "$plain"; }
explain() { printf '    %s\n' "$@"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }

if [ "${1-}" = --down ]; then
    "$here/sandbox" down
    exec "$here/setup.sh" --stop-engine
fi

trap 'printf "\ninterrupted; nothing needs to be repaired: run \`make demo\` again, or \`make demo-down\`\n"; exit 130' INT TERM

title "1/7  What this machine needs"
"$here/setup.sh"

title "2/7  Building the programs"
explain "the first time this compiles everything: a few minutes; \`make test\` runs the same programs"
(cd "$root" && "${CARGO:-cargo}" build --workspace)
export PATH=$root/target/debug:$here:$PATH

title "3/7  Two servers, an origin, a laptop"
# What an earlier demonstration left would tell another story.
"$here/sandbox" down >/dev/null
"$here/sandbox" up
environment=$("$here/sandbox" env)
eval "$environment"
state=${XDG_STATE_HOME:-$HOME/.local/state}/cm-sandbox/$CM_SANDBOX
cd "$state/laptop"
git config user.name >/dev/null || git config user.name "Demo"
git config user.email >/dev/null || git config user.email "demo@example.org"

# What Docker says runs: service, container, image, since when.
running() {
    "$here/sandbox" ssh platform docker ps --filter "name=^curateme-($1)\$" \
        --format 'table {{.Names}}\t{{.ID}}\t{{.Image}}\t{{.RunningFor}}'
}

title "4/7  The first deployment: everything"
explain "no ledger on the servers yet, so every service is built and started"
show deploy-to-vps.sh
deploy-to-vps.sh >"$state/demo-first.json"
show curl "$API_URL/gateway/health"
curl -sf "$API_URL/gateway/health"
printf '\n'

title "5/7  A change of the dashboard only"
before=$(running '.*')
printf '%s-%s\n' "$(date +%Y%m%d)" "$RANDOM" >apps/dashboard/VERSION
git commit -qam "dashboard: a new version"
show deploy-to-vps.sh
deploy-to-vps.sh >"$state/demo-dashboard.json"
explain "containers that differ from before, by Docker's own word:"
changed=$(diff <(awk '{print $1, $2}' <<<"$before") <(running '.*' | awk '{print $1, $2}') || true)
printf '%s\n' "$changed"
if grep -E '^[<>]' <<<"$changed" | grep -v 'curateme-dashboard ' >/dev/null; then
    printf 'a container that was not to be touched has changed\n' >&2
    exit 1
fi

title "6/7  A broken gateway"
explain "the new gateway starts, but every request fails: the canary sees it," \
    "and what ran before comes back without anybody's help"
running 'backend-gateway'
gateway=services/backend/curateme/gateway/__main__.py
sed -i 's/return 200, HEALTH.report()/raise RuntimeError("a bug that slipped through review")/' "$gateway"
git commit -qam "gateway: a bad idea"
show deploy-to-vps.sh
status=0
deploy-to-vps.sh >"$state/demo-broken.json" || status=$?
explain "exit status $status (60 means: rolled back, and healthy)"
[ "$status" -eq 60 ] || {
    printf 'the rollback did not happen as it should\n' >&2
    exit 1
}
running 'backend-gateway'
show curl "$API_URL/gateway/health"
curl -sf "$API_URL/gateway/health"
printf '\n'
git revert --no-edit HEAD >/dev/null

title "7/7  Two programs in a pipe, by hand"
explain "a change of the documentation, planned but not deployed"
printf '\nOne more line.\n' >>apps/docs/content/index.md
git commit -qam "docs: one more line"
show "cm-detect | cm-build --dry-run >plan.json"
cm-detect | cm-build --dry-run >"$state/plan.json"
show "cm-record history"
cm-record history

title "Done in $((SECONDS - began)) s. The sandbox is up; try:"
cat <<DONE
    eval "\$(scripts/sandbox env)"; export PATH=\$PWD/target/debug:\$PWD/scripts:\$PATH
    cd $state/laptop
    cm-record history                       # what ran when, and how it ended
    cm-detect --explain dashboard           # why a service would be deployed
    cm-backup </dev/null                    # a verified backup, now
    cm-health --all </dev/null              # is everything healthy?
    xdg-open $DASHBOARD_URL/                # the dashboard, through Caddy
    make demo-down                          # (in the repository) removes all of it
DONE
