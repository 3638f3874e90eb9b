#!/usr/bin/env bash
# The lock over a link of 40 ms, and what more hosts cost. On a server of the sandbox (scripts/sandbox), which is one host
# for each of ten users of it:
#
#   lock         cm-lock run on one host, login included, against ssh and flock(1) there: at most 1.5 times as long
#   2, 5, 10     hosts: lock, ledgers, release, over connections that are open, against the slowest of them alone: at most
#                1.3 times as long
#
#   scripts/bench/link.sh [ROUNDS]     default 10
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=lib_link.sh
. "$here/lib_link.sh"
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-10}
[[ $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $programs/cm-lock ]] || fail "no programs in $programs: make dist"
for command in ssh python3 git docker; do type -P "$command" >/dev/null || fail "$command is not installed"; done
link_up link

for ((round = -1; round < rounds; round++)); do
  timed "$directory/flock" fresh 'flock bench.lock true'
  disconnect
  timed "$directory/lock" cm-lock run --host platform --reason bench -- true
  ((round >= 0)) || rm "$directory/flock" "$directory/lock"
done
row 'lock: acquire, run, release; uncontended, one host, 40 ms' ms "$directory/lock" 'flock(1) over ssh' "$directory/flock" '<=1.50'

# Ten users of the server, each with the deploy user's key.
real=$(sed -n 's/.*HostKeyAlias .*:\([0-9]*\)$/\1/p' "$directory/relayed" | head -n 1)
container=$(docker ps --quiet --filter "publish=$real")
[[ -n $container ]] || fail "no container publishes port $real"
docker exec --interactive "$container" sh -eu <<'SH' >/dev/null
for n in 1 2 3 4 5 6 7 8 9 10; do
    useradd --create-home --shell /bin/sh --password '*' "h$n"
    install -d -m 700 -o "h$n" "/home/h$n/.ssh"
    install -m 600 -o "h$n" /home/curateme/.ssh/authorized_keys "/home/h$n/.ssh/authorized_keys"
done
sed -i 's/^AllowUsers.*/& h*/' /etc/ssh/sshd_config
kill -HUP "$(cat /run/sshd.pid)"
SH
mkdir "$directory/shop"
cd "$directory/shop"
printf 'services:\n  web:\n    image: web\n' >compose.yaml
{
  printf 'project = "bench"\n'
  for n in {1..10}; do printf '[hosts.h%s]\naddress = "h%s@%s"\ncheckout = "~/shop"\n' "$n" "$n" "$PLATFORM_VPS_IP"; done
} >cm.toml
# on HOST... - the lock on these, their ledgers under it, and the lock given back.
on() {
  local hosts=()
  for host; do hosts+=(--host "$host"); done
  cm-lock run "${hosts[@]}" --reason bench -- cm-record reconcile "${hosts[@]}"
}
all=(h{1..10})
for host in "${all[@]}"; do timed "$directory/warm" on "$host"; done # sshd lets ten strangers in at once, and more at random
for ((round = -1; round < rounds; round++)); do
  for count in 1 2 5 10; do
    timed "$directory/hosts-$count" on "${all[@]:0:count}"
    ((round >= 0)) || rm "$directory/hosts-$count"
  done
done
for count in 2 5 10; do
  row "$count hosts: lock, ledgers, release; 40 ms" ms "$directory/hosts-$count" 'one of them alone' "$directory/hosts-1" '<=1.30'
done
((missed == 0))
