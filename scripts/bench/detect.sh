#!/usr/bin/env bash
# How fast cm-detect is, against `git diff --name-only` of the same revisions in the same run, and how much memory it
# takes: a made-up repository of 100,000 files and 60 services, and a diff of 500 files. Then the same with a tenth of
# the files, with a hundred times the history and with a tenth of the diff: only the last may matter.
#
#   scripts/bench/detect.sh            everything; exit status 1 when a limit is missed
#
# $CM_BIN_DIR is where cm-detect is; without it one is built as what is installed. $CM_BENCH_RUNS is how many runs a median is
# taken of (default 15). Medians of wall time from outside, the process's start included; peak memory from the kernel.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
runs=${CM_BENCH_RUNS:-15}
max_ratio=1.5
max_mib=100
services=60

fail() {
  printf '[FAIL] %s\n' "$1" >&2
  exit 1
}

for tool in git awk sort /usr/bin/time; do
  command -v "$tool" >/dev/null || fail "$tool is needed (apt-get install git mawk coreutils time)"
done
if [[ -z ${CM_BIN_DIR:-} ]]; then
  (cd "$here" && cargo build --quiet --profile dist -p cm-detect)
  CM_BIN_DIR=$here/target/dist
fi
detect=$CM_BIN_DIR/cm-detect
[[ -x $detect ]] || fail "there is no cm-detect in $CM_BIN_DIR"

work=$(mktemp -d)
# The runtime directory is in memory, as that of a login session is.
memory=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work" "$memory"' EXIT
# Nothing of this machine's configuration counts, and nothing is left behind on it.
export HOME=$work XDG_STATE_HOME=$work/state XDG_RUNTIME_DIR=$memory
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null

# history FILES COMMITS CHANGED - a stream for git fast-import: a first commit with FILES files over all services, COMMITS
# commits that change one file each, then (tag base) a last one that changes CHANGED files, evenly spread.
history() {
  awk -v files="$1" -v commits="$2" -v changed="$3" -v services="$services" '
    function path(i) {
      return sprintf("services/s%02d/%s/d%03d/f%06d.txt", i % services, i % 4 ? "src" : "docs", int(i / services / 40), i)
    }
    function write(where, text) { printf "M 100644 inline %s\ndata %d\n%s\n", where, length(text), text }
    function commit(name) {
      printf "commit refs/heads/main\nmark :%d\ncommitter A <a@example.org> %d +0000\ndata 1\nx\n", ++marks, 1700000000 + marks
    }
    BEGIN {
      commit()
      yaml = "services:\n"
      for (s = 0; s < services; s++) {
        name = sprintf("s%02d", s)
        yaml = yaml "  " name ":\n    build: {context: services/" name "}\n    environment: {A: \"1\"}\n    volumes: [\"./conf:/conf:ro\"]\n"
        write("services/" name "/Dockerfile", "FROM scratch AS deps\nCOPY package.json /\nFROM deps\nCOPY src /src\n")
        write("services/" name "/package.json", "{}")
        write("services/" name "/.dockerignore", "**/*.md\n**/node_modules\n*.log\n")
      }
      write("compose.yml", yaml)
      write("conf/a.conf", "a")
      for (i = 0; i < files; i++) write(path(i), i)
      for (c = 0; c < commits; c++) { commit(); write(path(c * 7919 % files), "c" c) }
      printf "reset refs/tags/base\nfrom :%d\n\n", marks
      commit()
      for (k = 0; k < changed; k++) write(path(int(k * files / changed) + k % 7), "changed " k)
    }'
}

# repository NAME FILES COMMITS CHANGED - makes $work/NAME, packed as a clone would be.
repository() {
  local directory=$work/$1
  git init -q --bare --initial-branch=main "$directory"
  history "$2" "$3" "$4" | git -C "$directory" fast-import --quiet --force
  git -C "$directory" gc --quiet
}

# median COMMAND... - the median wall time in microseconds.
median() {
  if command -v hyperfine >/dev/null; then
    hyperfine -N --warmup 2 --runs "$runs" --style none --export-csv "$work/times.csv" "${*@Q}" >/dev/null 2>&1
    awk -F, 'END { printf "%d\n", $(NF - 4) * 1e6 }' "$work/times.csv"
    return
  fi
  local run start end
  for ((run = -2; run < runs; run++)); do
    start=${EPOCHREALTIME//[.,]/}
    "$@" </dev/null >/dev/null 2>&1
    end=${EPOCHREALTIME//[.,]/}
    ((run < 0)) || printf '%d\n' $((end - start))
  done | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

# peak COMMAND... - the most memory it has at once, in KiB.
peak() {
  /usr/bin/time -f %M -o "$work/peak" "$@" </dev/null >/dev/null 2>&1
  tail -n 1 "$work/peak"
}

missed=0
declare -A time_of

# measure NAME TEXT - both programs on the repository NAME; prints a line.
measure() {
  local directory=$work/$1 peer own most ratio found
  found=$("$detect" --repo "$directory" --base base --head main </dev/null 2>/dev/null | grep -o '"action":"build"' | wc -l) || found=0
  ((found > 0)) || fail "cm-detect found nothing in $1"
  peer=$(median git -C "$directory" diff --name-only base main)
  own=$(median "$detect" --repo "$directory" --base base --head main)
  most=$(peak "$detect" --repo "$directory" --base base --head main)
  ratio=$(awk -v a="$own" -v b="$peer" 'BEGIN { printf "%.2f", a / b }')
  time_of[$1]=$own
  printf '%-52s git diff %6.1f ms   cm-detect %6.1f ms   ratio %s   peak %5.1f MiB\n' "$2" \
    "$(awk -v t="$peer" 'BEGIN { print t / 1000 }')" "$(awk -v t="$own" 'BEGIN { print t / 1000 }')" "$ratio" \
    "$(awk -v k="$most" 'BEGIN { print k / 1024 }')"
  if [[ $1 == large ]] && awk -v r="$ratio" -v k="$most" -v mr="$max_ratio" -v mm="$max_mib" \
    'BEGIN { exit !(r > mr || k / 1024 >= mm) }'; then
    missed=1
  fi
}

printf 'cm-detect, medians of %d runs on %d processors\n' "$runs" "$(nproc)"
repository large 100000 100 500
measure large '100,000 files, 100 commits, 500 changed'
repository small 10000 100 500
measure small '10,000 files, 100 commits, 500 changed'
repository old 100000 10000 500
measure old '100,000 files, 10,000 commits, 500 changed'
repository little 100000 100 50
measure little '100,000 files, 100 commits, 50 changed'

# share A B - how A's time compares with B's.
share() {
  awk -v a="${time_of[$1]}" -v b="${time_of[$2]}" 'BEGIN { printf "%.2f", a / b }'
}
printf 'ten times the files: %s × the time; a hundred times the history: %s ×; a tenth of the diff: %s ×\n' \
  "$(share large small)" "$(share old large)" "$(share little large)"
if ((missed)); then
  fail "over the limits: at most $max_ratio times git diff, less than $max_mib MiB"
fi
printf 'within the limits: at most %s times git diff, less than %s MiB\n' "$max_ratio" "$max_mib"
