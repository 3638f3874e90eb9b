#!/usr/bin/env bash
# A deployment of twenty services to a Docker Swarm of three nodes against the same by hand: `docker compose build`, `docker
# push` and `docker stack deploy --detach=false` on a manager; both in turns, of the same stack, one image for all services:
#
#   the deployment    deploy-to-vps.sh, start to end, its login included, with a window of 2 s
#   its own share     what it takes beyond the work by hand and its window, against that work
#   logins            of one deployment, over all managers (the push to the origin is none of them)
#
# and then, of the shop with two replicas of `web` on three nodes behind Caddy:
#
#   failed requests   of 200 a second to it, during ten deployments, and during ten of `docker stack deploy` alone
#
#   scripts/bench/swarm.sh [ROUNDS [DEPLOYMENTS]]     default 3 10
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-3} deployments=${2:-10}
services=20 window=2
[[ $rounds =~ ^[1-9][0-9]?$ && $deployments =~ ^[1-9][0-9]?$ ]] || fail "not a number: '$*'"
[[ -x $programs/cm-record ]] || fail "no programs in $programs: make dist"

name=bench-swarm-$$
directory=$(mktemp -d)
sandbox=(env HOME="$HOME" XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}" "$(dirname "$here")/sandbox")
down() {
  jobs -p | xargs -r kill 2>/dev/null || :
  "${sandbox[@]}" down --name "$name" >/dev/null 2>&1 || :
  rm -rf "$directory"
}
trap down EXIT
"${sandbox[@]}" up --swarm --name "$name" >"$directory/up" 2>&1 || {
  cat "$directory/up" >&2
  fail 'no sandbox'
}
eval "$("${sandbox[@]}" env --name "$name")"
cd "$(dirname "$CM_SSH_CONFIG")/laptop" || fail 'no laptop'
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run CM_ACTOR=bench
PATH=$programs:$(dirname "$here"):$PATH
export PATH
export GIT_CONFIG_GLOBAL=$directory/gitconfig
git config --file "$directory/gitconfig" user.name bench
git config --file "$directory/gitconfig" user.email bench@example.org
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID SLACK_DEPLOY_WEBHOOK

# service STACK - the definition of one service, for Compose or for a stack.
service() {
  printf '    image: %s\n    environment: {PORT: "8000"}\n' "$1"
  if [[ $1 = shop/web ]]; then
    printf '    deploy: {endpoint_mode: dnsrr}\n'
  else
    printf '    deploy:\n      endpoint_mode: dnsrr\n      labels: {cm.project: shop, cm.image: shop/web}\n'
    printf '      update_config: {order: start-first, monitor: 5s, failure_action: pause}\n'
  fi
}
# project IMAGE - twenty services of it.
project() {
  local number
  [[ $1 = shop/web ]] && printf 'name: shop\n' || printf 'version: "3.8"\n'
  printf 'services:\n'
  for ((number = 1; number <= services; number++)); do
    printf '  s%02d:\n' "$number"
    service "$1"
    if [[ $1 = shop/web && $number = 1 ]]; then printf '    build: {context: web}\n'; fi
  done
}
cp docker-compose.production.yml "$directory/shop.yml"
cp cm.toml "$directory/shop.toml"
project shop/web >docker-compose.production.yml
sed -i '/^\[backup\]/,/^$/d; /^\[services.seed\]/,/^$/d; /^\[\[verify.checks\]\]/,$d; s/^window = .*/window = "'"$window"'s"/' cm.toml
git add -A
git commit -qm 'twenty services'

on() { "${sandbox[@]}" ssh --name "$name" node1 "$@"; }
# by_hand VERSION - what an engineer does on the manager.
by_hand() {
  local image=registry:5000/shop/web:hand-$1
  on "cd platform && echo $1 >web/VERSION && docker compose -f docker-compose.production.yml --env-file .env.production build s01 \
    && docker tag shop/web $image && docker push -q $image && git checkout -q -- web/VERSION"
  project "$image" | "${sandbox[@]}" ssh --name "$name" node1 'cat >stack.yml'
  on 'docker stack deploy --compose-file stack.yml --with-registry-auth --detach=false shop'
}
# disconnect - the next login is a new one.
disconnect() {
  local socket
  for socket in "$directory"/run/cm/ssh-*[0-9a-f]; do [[ ! -S $socket ]] || ssh -O exit -S "$socket" x 2>/dev/null || :; done
}
logins() { find "$directory/run/cm" -type s -name 'ssh-*' | wc -l; }

mkdir -m 700 "$directory/run"
timed "$directory/first" deploy-to-vps.sh
for ((round = 0; round < rounds; round++)); do
  echo "cm-$round" >web/VERSION
  git commit -qam "cm-$round"
  disconnect
  timed "$directory/cm" deploy-to-vps.sh
  logins >>"$directory/logins"
  timed "$directory/hand" by_hand "hand-$round"
  paste "$directory/cm" "$directory/hand" | tail -n 1 |
    awk -v window="$window" '{ printf "%.3f\n", $1 - $2 - window * 1000 }' >>"$directory/own"
done
row "deployment of $services services to a Swarm of three nodes" ms "$directory/cm" 'build, push and docker stack deploy by hand' "$directory/hand" '<=1.50'
row 'its own share, without its window' ms "$directory/own" 'that work' "$directory/hand" '<=0.20'
row 'logins per deployment over three managers' '' "$directory/logins" - - '=<=4'

# The shop again: its proxy has the name of one service and the tasks of all of them.
cp "$directory/shop.yml" docker-compose.production.yml
cp "$directory/shop.toml" cm.toml
git commit -qam 'the shop'
timed "$directory/shop" deploy-to-vps.sh --no-backup

# web_by_hand VERSION - the same service with the same check and the same way to update it, by hand.
web_by_hand() {
  local image=registry:5000/shop/web:hand-$1
  on "cd platform && echo $1 >web/VERSION && docker compose -f docker-compose.production.yml --env-file .env.production build web \
    && docker tag shop/web $image && docker push -q $image && git checkout -q -- web/VERSION"
  {
    printf 'version: "3.8"\n'
    sed -n '/^x-check:/,/^services:/p' "$directory/shop.yml"
    printf '  web:\n    image: %s\n    environment: {PORT: "8000"}\n    healthcheck: *check\n    deploy:\n' "$image"
    printf '      endpoint_mode: dnsrr\n      replicas: 2\n      labels: {cm.project: shop, cm.image: shop/web}\n'
    printf '      update_config: {order: start-first, monitor: 13s, failure_action: pause}\n'
  } | "${sandbox[@]}" ssh --name "$name" node1 'cat >web.yml'
  on 'docker stack deploy --compose-file web.yml --with-registry-auth --detach=false shop'
}
# asked FILE COMMAND - how many of 200 requests a second failed while it ran; each request counts, and the time after it.
asked() {
  local file=$1 load sent failed
  shift
  "$here/load.py" "${APP_URL##*:}" shop.example / 200 >"$directory/asked" 2>"$directory/asked.why" &
  load=$!
  "$@"
  sleep 3
  kill "$load"
  wait "$load" || fail "the load ended: $(cat "$directory/asked.why")"
  read -r sent failed <"$directory/asked"
  printf '%s\n' "$failed" >>"$file"
  printf '%s requests, %s failed %s\n' "$sent" "$failed" "$(cat "$directory/asked.why")" >&2
}
for ((round = 0; round < deployments; round++)); do
  echo "asked-$round" >web/VERSION
  git commit -qam "asked-$round"
  asked "$directory/failed" timed "$directory/asked.cm" deploy-to-vps.sh --no-backup
  asked "$directory/failed.hand" timed "$directory/asked.hand" web_by_hand "asked-hand-$round"
done
for column in failed failed.hand; do awk '{ all += $1 } END { print all + 0 }' "$directory/$column" >"$directory/$column.all"; done
row "failed requests of 200/s during $deployments deployments to a Swarm" '' "$directory/failed.all" 'docker stack deploy by hand' "$directory/failed.hand.all" '=<=0'
((missed == 0))
