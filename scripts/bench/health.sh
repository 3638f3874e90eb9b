#!/usr/bin/env bash
# How long cm-health takes beyond what it waits for, on a sandbox server's real Docker engine over ssh:
#
#   verdict    from the moment Docker calls the last of five services healthy and its window is over to the end of
#              cm-health: at most 100 ms and one round trip (one command over the shared connection, measured alongside)
#   failure    from the moment a container dies to the end of cm-health, which names it: at most 2 s
#
#   scripts/bench/health.sh [ROUNDS]     default 10
#
# The server's events carry Docker's own times; server and this machine have one clock. CM_BIN_DIR is the directory of the
# program under test (default: target/dist). Prints medians and the worst; exit status 1 if a median is over its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-health
rounds=${1:-10}
window=3 # seconds

[[ $rounds =~ ^[1-9][0-9]{0,3}$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $program ]] || fail "no program at $program: make dist"

name=bench-health-$$
directory=$(mktemp -d)
end() {
  "$here/../sandbox" down --name "$name" >"$directory/down" 2>&1 || cat "$directory/down" >&2
  rm -rf "$directory"
}
trap end EXIT
"$here/../sandbox" up --name "$name" >"$directory/up" 2>&1 || {
  cat "$directory/up" >&2
  fail 'no sandbox'
}
eval "$("$here/../sandbox" env --name "$name")"
on_server() { "$here/../sandbox" ssh --name "$name" platform "$@"; }
unset CM_CONFIG CM_LOG SLACK_DEPLOY_WEBHOOK
cd "$directory"
install -d -m 700 run

# gate - the program, for all services. Nobody's configuration takes part.
gate() { HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run "$program" "${named[@]}" </dev/null; }

services=(one two three four five)
{
  printf 'name: bench\nservices:\n'
  for service in "${services[@]}"; do
    printf '  %s:\n    image: curateme/python:1\n    stop_grace_period: 0s\n' "$service"
    printf '    command: [python3, -m, http.server, "8080"]\n'
    printf '    healthcheck: {test: [CMD, bash, -c, "exec 3<>/dev/tcp/127.0.0.1/8080"], interval: 1s}\n'
  done
} >compose.yml
cat >cm.toml <<'TOML'
project = "bench"
[compose]
files = ["compose.yml"]
[hosts.platform]
address = "${DEPLOY_USER}@${PLATFORM_VPS_IP}"
checkout = "~/bench"
TOML
printf '[health]\ntimeout = "60s"\nwindow = "%ss"\n' "$window" >>cm.toml
on_server "mkdir -p bench && cat >bench/compose.yml" <compose.yml
named=()
for service in "${services[@]}"; do named+=(--service "$service"); done

# fresh - new containers of all services, not yet healthy.
fresh() { on_server 'docker compose -f bench/compose.yml up -d --force-recreate >/dev/null 2>&1'; }

# last_event WHAT SINCE - when the server last saw it, in nanoseconds.
last_event() {
  on_server "docker events --since $2 --until \"\$(date +%s.%N)\" --filter type=container --filter label=com.docker.compose.project=bench \
    --format '{{.TimeNano}} {{.Action}}'" | awk -v what="$1" 'index($0, what) { last = $1 } END { print last }'
}

# round_trip - one command over the connection that cm-health left open, in milliseconds.
round_trip() {
  local socket begin
  socket=$(find run -type s | head -n 1)
  begin=$(date +%s%N)
  ssh -S "$socket" server true </dev/null
  echo $((($(date +%s%N) - begin) / 1000000))
}

round() {
  local since begin end good died
  since=$(date +%s)
  fresh
  gate >good.json 2>good.log || {
    cat good.log >&2
    fail 'healthy services were not found so'
  }
  end=$(date +%s%N)
  good=$(last_event 'health_status: healthy' "$since")
  echo $(((end - good) / 1000000 - window * 1000)) >>verdict
  round_trip >>trip

  since=$(date +%s)
  fresh
  gate >bad.json 2>bad.log &
  local running=$!
  sleep 2
  on_server 'docker kill bench-three-1 >/dev/null'
  ! wait "$running" || fail 'a killed container was called healthy'
  end=$(date +%s%N)
  grep -q '"service":"three","host":"platform","state":"unhealthy"' bad.json || {
    cat bad.log >&2
    fail 'it does not name the container that died'
  }
  died=$(last_event ' die' "$since")
  echo $(((end - died) / 1000000)) >>failure
}

for ((n = 0; n < rounds; n++)); do round; done
trip=$(three trip | cut -d' ' -f1)
awk -v trip="$trip" '{ print $1 - trip }' verdict >beyond
row 'verdict of health after the window, one round trip taken off' ms beyond - - '=<=100'
row 'failure told after the death of a container' ms failure - - '=<=2000'
((missed == 0))
