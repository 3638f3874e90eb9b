#!/usr/bin/env bash
# The demonstration on a Docker Swarm: three managers and a registry, a first deployment, a change of one service, a
# broken change that is rolled back by itself, a node that is drained, and the leader killed in mid-deployment.
# Everything is real, and stays up to play with; `make demo-swarm-down` removes it.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname -- "$here")
export CM_SANDBOX=${CM_SANDBOX:-demo-swarm}
began=$SECONDS

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
title() { printf '\n%s=== %s%s\n' "$bold" "$1" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }

if [ "${1-}" = --down ]; then exec "$here/sandbox" down; fi

title "1/7  What this machine needs, and the programs"
"$here/setup.sh"
(cd "$root" && "${CARGO:-cargo}" build --workspace)
export PATH=$root/target/debug:$here:$PATH

title "2/7  Three servers that are one Swarm, a registry, an origin, a laptop"
"$here/sandbox" down >/dev/null
"$here/sandbox" up --swarm
environment=$("$here/sandbox" env)
eval "$environment"
cd "${XDG_STATE_HOME:-$HOME/.local/state}/cm-sandbox/$CM_SANDBOX/laptop"

on() { "$here/sandbox" ssh "$@"; }
container() { printf 'cm-sandbox-%s-%s' "$CM_SANDBOX" "$1"; }
ask() { curl -sf --max-time 10 "$APP_URL$1" && printf '\n'; }
running() { on "$1" "docker service ls --format 'table {{.Name}}\t{{.Mode}}\t{{.Replicas}}'"; }
# full - whether every service has the tasks that it should have; a job has ended.
full() { on node1 "docker service ls --filter mode=replicated --filter mode=global --format '{{.Replicas}}'" | awk -F '[/ ]' '$1 != $2 { short = 1 } END { exit short || NR == 0 }'; }
# deploy FILE TEXT - commits it and deploys; the exit status is the deployment's.
deploy() {
	printf '%s\n' "$2" >"$1"
	git commit -qam "$1: $2"
	show deploy-to-vps.sh
	deploy-to-vps.sh >/dev/null
}

title "3/7  The first deployment: services in the order in which they depend on each other"
show deploy-to-vps.sh
deploy-to-vps.sh >/dev/null
running node1
ask /api/

title "4/7  A change of one service"
deploy web/VERSION 2
ask /

title "5/7  A broken release: all of it is rolled back"
printf '3\n' >web/VERSION
status=0
deploy api/VERSION broken || status=$?
[ "$status" -eq 60 ] || { printf 'wanted exit status 60, rolled back; this was %s\n' "$status" && exit 1; }
ask /api/
ask /
printf '2\n' >web/VERSION

title "6/7  A node is drained: the next deployment goes on without it"
show docker node update --availability drain node3
on node1 'docker node update --availability drain node3 >/dev/null'
deploy api/VERSION 2
ask /api/
on node1 'docker node update --availability active node3 >/dev/null'

title "7/7  The leader, the manager that cm.toml names first, is killed in mid-deployment"
leader=$(on node1 "docker node ls --format '{{if eq .ManagerStatus \"Leader\"}}{{.Hostname}}{{end}}'" | grep .)
show "the leader is $leader; docker kill node1"
APP_URL=$NODE2_URL
export APP_URL
(sleep 15 && docker kill "$(container node1)" >/dev/null) &
status=0
deploy web/VERSION 4 || status=$?
wait
printf 'the deployment ended with exit status %s\n' "$status"
show "deploy-to-vps.sh: another manager takes over, with the same ledger and lock"
deploy-to-vps.sh >/dev/null
ask /
running node2
docker start "$(container node1)" >/dev/null
show "waiting until node1 has its tasks again"
for ((second = 0; second < 90; second++)); do
	if full; then break; fi
	sleep 1
done
cm-record history || :

title "Done after $((SECONDS - began)) s; make demo-swarm-down removes it"
