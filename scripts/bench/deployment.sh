#!/usr/bin/env bash
# A whole deployment of one static service against the runbook as a plain shell script (runbook.sh), on a real server
# (scripts/sandbox) over links of 40 ms round trip, ssh and HTTP alike, without a backup; both in turns:
#
#   window of 10 s, and of 3 s     deploy-to-vps.sh, start to end, its login included
#   what it adds                   the time that is left without its window and without what Docker Compose takes for the same
#                                  build and start by hand; of the script, without its five seconds of waiting
#   nothing to do                  the same, after it
#   logins and round trips         of one deployment, counted on the link to the server; of the round trips are taken off
#                                  those of `docker compose build` and `up -d` of the same service by hand. The canary and
#                                  the checks go over another link.
#   cm-health --all                of a platform that has run for longer than the window, against `docker compose ps`;
#                                  and of services on two hosts against one
#   cm-detect                      what it adds to a login that reads the ledger, against the server's own two `docker compose config`
#
#   scripts/bench/deployment.sh [ROUNDS]     default 10
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
# CM_BENCH_AGAINST is the directory of another version of them, which then takes its turn in each round: a machine differs
# from one day to the next by more than most changes. What they took is printed, and is no row of the table.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=lib_link.sh
. "$here/lib_link.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-10}
[[ $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a number of rounds: '$rounds'"
against=${CM_BENCH_AGAINST:+$(cd "$CM_BENCH_AGAINST" && pwd)}
[[ -x $programs/cm-record ]] || fail "no programs in $programs: make dist"
for command in ssh python3 git curl; do type -P "$command" >/dev/null || fail "$command is not installed"; done
link_up deployment
relay http "${API_URL##*:}"
export API_URL=${API_URL%:*}:$port DASHBOARD_URL=${DASHBOARD_URL%:*}:$port DOCS_URL=${DOCS_URL%:*}:$port
page=apps/docs/content/api.md
[[ -f $page ]] || fail "the sample platform has no $page"
compose='cd platform && docker compose -f docker-compose.production.yml --env-file .env.production'

version() { # version TEXT - a commit that changes the documentation's page alone.
  echo "<!-- $1 -->" >>"$page"
  git commit -qam "docs: $1"
}
# by_hand - what Docker Compose itself says over the link while it builds and starts a new version of the service.
by_hand() {
  over "cd platform && echo '<!-- $RANDOM -->' >>$page"
  over "$compose build docs && docker compose -f docker-compose.production.yml --env-file .env.production up -d --no-deps docs" >"$directory/by-hand" 2>&1
  over "cd platform && git checkout -q -- $page"
}

# in_turn NAME COMMAND... - the same by the other version, if there is one.
in_turn() {
  [[ -n $against ]] || return 0
  disconnect
  PATH=$against:$PATH timed "$directory/$1-against" "${@:2}"
}

# compared NAME - how long both versions took.
compared() {
  [[ -n $against ]] || return 0
  paste <(three "$directory/$1") <(three "$directory/$1-against") |
    awk -v name="$1" '{ printf "%s: %d ms (%d - %d), the other version %d ms (%d - %d): %.2f x\n", name, $1, $2, $3, $4, $5, $6, $1 / $4 }'
}

# added NAME MS - what the last run of NAME took beyond a wait of MS and Docker Compose's own work.
added() {
  paste <(tail -n 1 "$directory/$1") <(tail -n 1 "$directory/hand") |
    awk -v wait="$2" '{ printf "%.3f\n", $1 - $2 - wait }' >>"$directory/$1-added"
}

git push -q origin HEAD:develop
version warm
timed "$directory/warm" deploy-to-vps.sh --no-backup
for window in 10 3; do
  sed -i "s/^window = \"[0-9]*s\"/window = \"${window}s\"/" cm.toml
  git commit -qam "window: $window s" || :
  for ((round = 0; round < rounds; round++)); do
    version "runbook-$window-$round"
    timed "$directory/runbook-$window" "$here/runbook.sh" --no-backup
    version "cm-$window-$round"
    disconnect
    read -r logins trips < <(counts)
    timed "$directory/cm-$window" deploy-to-vps.sh --no-backup
    read -r logins_after trips_after < <(counts)
    echo $((logins_after - logins)) >>"$directory/logins"
    [[ -z $against ]] || version "against-$window-$round"
    in_turn "cm-$window" deploy-to-vps.sh --no-backup
    if [[ $window = 3 ]]; then
      over true
      read -r _ hand < <(counts)
      timed "$directory/hand" by_hand
      added cm-3 3000
      added runbook-3 5000
      read -r _ hand_after < <(counts)
      echo $((trips_after - trips - (hand_after - hand))) >>"$directory/trips"
      continue
    fi
    timed "$directory/runbook-idle" "$here/runbook.sh" --no-backup
    disconnect
    timed "$directory/cm-idle" deploy-to-vps.sh --no-backup
    in_turn cm-idle deploy-to-vps.sh --no-backup
    timed "$directory/ps" over "$compose ps"
    timed "$directory/health" cm-health --all
    timed "$directory/two" cm-health --service docs --service runner-agent
    timed "$directory/one" cm-health --service docs
    # One version that runs, another one that is to run: Compose is asked about both.
    version "detect-$round"
    read -r _ trips < <(counts)
    timed "$directory/login" fresh 'tail -n 50 .local/state/cm/*/ledger.jsonl'
    read -r _ trips_login < <(counts)
    disconnect
    timed "$directory/detect" cm-detect --host platform
    read -r _ trips_after < <(counts)
    echo $(((trips_after - trips_login) - (trips_login - trips))) >>"$directory/trips-detect"
    paste "$directory/detect" "$directory/login" | tail -n 1 | awk '{ printf "%.3f\n", $1 - $2 }' >>"$directory/asked"
    timed "$directory/configs" over "for _ in 1 2; do ($compose config --format json); done"
  done
done
script='the runbook as a shell script'
row 'deployment of one static service, 40 ms, window of 10 s' ms "$directory/cm-10" "$script" "$directory/runbook-10" '<=1.20'
row 'the same, window of 3 s' ms "$directory/cm-3" "$script" "$directory/runbook-3" '<=0.60'
row 'what it adds to the window and to Docker Compose' ms "$directory/cm-3-added" "$script, without its wait" "$directory/runbook-3-added" '<=1.00'
row 'the same, nothing to do' ms "$directory/cm-idle" "$script" "$directory/runbook-idle" '<=1.00'
row 'cm-health --all, two hosts, healthy for longer than the window' ms "$directory/health" 'docker compose ps on one, over a connection that is open' "$directory/ps" '<=2.00'
row 'cm-health of services on two hosts' ms "$directory/two" 'of one of them' "$directory/one" '<=1.15'
row 'cm-detect, beyond a login that reads the ledger' ms "$directory/asked" "the server's own two docker compose config" "$directory/configs" '<=1.30'
row 'round trips of cm-detect beyond those of that login' '' "$directory/trips-detect" - - '=<=1'
row 'logins per deployment and host' '' "$directory/logins" - - '=<=1'
row "round trips per deployment and host, beyond Docker Compose's, window of 3 s" '' "$directory/trips" - - '=<=12'
for name in cm-10 cm-3 cm-idle; do compared "$name"; done
((missed == 0))
