# shellcheck shell=bash
# What the benchmarks share: how a run is timed, how a row of the table is written, and a link of 40 ms.
#
# A row compares two columns of numbers that were measured in turns, in one run: ours and those of a named peer. It is
# printed, and added to the file $CM_BENCH_ROWS as a line of JSON, which `make bench` makes its table of.
export LC_ALL=C

fail() {
  printf '[FAIL] %s\n' "$1" >&2
  exit 2
}

# timed FILE COMMAND... - adds a run's wall time to FILE, in milliseconds; a command that fails ends the benchmark, unless
# its exit status is $expected.
timed() {
  local file=$1 begin status=0
  shift
  begin=${EPOCHREALTIME/./}
  "$@" >"$file.said" 2>&1 </dev/null || status=$?
  awk -v us="$((${EPOCHREALTIME/./} - begin))" 'BEGIN { printf "%.3f\n", us / 1000 }' >>"$file"
  [[ $status = "${expected:-0}" ]] || {
    cat "$file.said" >&2
    fail "exit status $status: $*"
  }
}

# measured NAME COMMAND... - one line `MICROSECONDS KILOBYTES MICROSECONDS-OF-CPU` more in the file NAME of $directory.
measured() {
  local name=$1
  shift
  # shellcheck disable=SC2154 # of those who include this
  python3 - "$directory/$name" "$@" <<'PY'
import resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(f"[FAIL] {sys.argv[2:]}: {done.stderr.decode()}")
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "a") as out:
    print(int((time.monotonic() - begin) * 1e6), used.ru_maxrss, int((used.ru_utime + used.ru_stime) * 1e6), file=out)
PY
}

# three FILE - the median of its numbers, the least and the most.
three() { sort -n "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)], all[1], all[NR] }'; }

# scaled FILE DIVISOR - its first numbers, divided; writes FILE.scaled and prints its name.
scaled() {
  awk -v by="$2" '{ printf "%.3f\n", $1 / by }' "$1" >"$1.scaled"
  printf '%s\n' "$1.scaled"
}

# 1 once a row has missed its limit: the exit status of a benchmark.
# shellcheck disable=SC2034 # those who include this end with it
missed=0
# row NAME UNIT FILE PEER PEER_FILE|- LIMIT - a row of the table. LIMIT is what is wanted of the ratio of the medians,
# `<=1.20` or `>=3.00`; with `=` before it (`=<=12`), of our own median, where there is nothing to divide by.
row() {
  local name=$1 unit=$2 file=$3 peer=$4 peer_file=$5 limit=$6 line
  local -a own theirs=(0 0 0)
  read -ra own < <(three "$file")
  if [[ $peer_file != - ]]; then read -ra theirs < <(three "$peer_file"); fi
  line=$(awk -v name="$name" -v unit="$unit" -v peer="$peer" -v limit="$limit" -v runs="$(wc -l <"$file")" \
    -v own="${own[*]}" -v theirs="${theirs[*]}" -v load="$(cut -d' ' -f1 /proc/loadavg)" 'BEGIN {
      split(own, a, " "); split(theirs, b, " ")
      judged = sub(/^=/, "", limit) ? "median" : "ratio"
      sense = substr(limit, 1, 2); wanted = substr(limit, 3) + 0
      ratio = b[1] > 0 ? a[1] / b[1] : 0
      value = judged == "median" ? a[1] : ratio
      holds = sense == "<=" ? value <= wanted : value >= wanted
      printf "{\"row\":\"%s\",\"unit\":\"%s\",\"peer\":\"%s\",\"ours\":[%.3f,%.3f,%.3f],\"theirs\":[%.3f,%.3f,%.3f],", name, unit, peer, a[1], a[2], a[3], b[1], b[2], b[3]
      printf "\"ratio\":%.3f,\"judged\":\"%s\",\"sense\":\"%s\",\"limit\":%s,\"holds\":%s,\"runs\":%d,\"load\":%s}\n", ratio, judged, sense, wanted, holds ? "true" : "false", runs, load
    }')
  [[ -z ${CM_BENCH_ROWS-} ]] || printf '%s\n' "$line" >>"$CM_BENCH_ROWS"
  printf '%s\n' "$line" | sed 's/[{}"]//g; s/,/  /g'
  # shellcheck disable=SC2034 # those who include this end with it
  [[ $line == *'"holds":true'* ]] || missed=1
}
