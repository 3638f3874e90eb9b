# shellcheck shell=bash
# The containers of one sandbox: two servers and the origin, their ports, keys and readiness.
#
# Sourced by scripts/sandbox. Ports are chosen here and fixed in the container, rather than left to the engine,
# because the engine would choose others at each restart and a reboot must not move a server.
#
# The caller sets: name, state, parts, platform, debian_mirror.
# shellcheck disable=SC2154

# Every capability that is not a default and that an engine in a container can want. --privileged would ask for
# all there are, which fails where the machine itself lacks one; so each that the machine has is named.
capabilities=(
  AUDIT_CONTROL:30 AUDIT_READ:37 BLOCK_SUSPEND:36 DAC_READ_SEARCH:2 IPC_LOCK:14 IPC_OWNER:15 LEASE:28
  LINUX_IMMUTABLE:9 MAC_ADMIN:33 MAC_OVERRIDE:32 NET_ADMIN:12 NET_BROADCAST:11 SYS_ADMIN:21 SYS_BOOT:22
  SYS_MODULE:16 SYS_NICE:23 SYS_PACCT:20 SYS_PTRACE:19 SYS_RAWIO:17 SYS_RESOURCE:24 SYS_TIME:25
  SYS_TTY_CONFIG:26 SYSLOG:34 WAKE_ALARM:35
)

capability_options() {
  local bound entry
  bound=$((16#$(sed -n 's/^CapBnd:\s*//p' /proc/self/status)))
  for entry in "${capabilities[@]}"; do
    if ((bound >> ${entry#*:} & 1)); then printf -- '--cap-add=%s\n' "${entry%:*}"; fi
  done
}

# run_server_container NAME LABEL OPTION... IMAGE ROLE - start a container that may run an engine inside.
run_server_container() {
  local name=$1 label=$2 caps
  shift 2
  mapfile -t caps < <(capability_options)
  docker run --detach --name "$name" --hostname "${name##*-}" --label "$label" \
    --cgroupns private --tmpfs /run:exec,mode=755 --tmpfs /tmp:exec,mode=1777 \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
    --stop-timeout 30 "${caps[@]}" "$@" >/dev/null
}

container() { printf 'cm-sandbox-%s-%s' "$name" "$1"; }

# free_port - one on 127.0.0.1 that nobody listens on, outside the range from which clients get theirs.
free_port() {
  local port tries
  for ((tries = 0; tries < 200; tries++)); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
      printf '%s' "$port"
      return 0
    }
  done
  fail 'found no free port between 20000 and 32000 on 127.0.0.1'
}

# start_container ROLE CONTAINER-PORT... - a role's container with each port published on a free one. Somebody
# else may take a port between our look and the engine's: then others are tried.
start_container() {
  local role=$1 tries options port kind=server errors
  shift
  errors=$(mktemp)
  [[ $role != origin ]] || kind=origin
  for ((tries = 0; tries < 5; tries++)); do
    options=(--network "cm-sandbox-$name" --network-alias "$role" --env "SANDBOX_KEY=$(<"$state/key.pub")")
    if [[ $kind == server ]]; then
      plant_seed "$(container "$role")"
      options+=(--mount "type=volume,source=$(container "$role"),target=/var/lib/docker"
      --mount "type=volume,source=$(seed_volume),target=/seed,readonly")
    fi
    for port in "$@"; do options+=(--publish "127.0.0.1:$(free_port):$port"); done
    if run_server_container "$(container "$role")" "cm.sandbox=$name" "${options[@]}" "$(server_image)" "$kind" 2>"$errors"; then
      rm -f "$errors"
      return 0
    fi
    docker rm --force --volumes "$(container "$role")" >/dev/null 2>&1 || true
    grep -qE 'port is already allocated|address already in use' "$errors" || break
  done
  cat "$errors" >&2
  rm -f "$errors"
  fail "could not start the container $(container "$role")" 'scripts/setup.sh --engine looks after the engine'
}

# plant_seed VOLUME - make a server's data directory from the seed. Layers are never written again, so they are linked,
# which takes a fraction of copying; an engine writes to the rest in place. Where links are not to be had the
# server copies all of it when it starts.
plant_seed() {
  local volumes
  docker volume create --label "cm.sandbox=$name" "$1" >/dev/null
  volumes=$(docker volume inspect --format '{{.Mountpoint}}' "$(seed_volume)")
  docker run --rm --network none --volume "${volumes%/*/*}:/volumes" --entrypoint /bin/sh "$(server_image)" -euc '
    cd "/volumes/$1/_data"
    [ ! -e "../../$2/_data/.planted" ] || exit 0
    cp -al overlay2 "../../$2/_data/"
    find . -mindepth 1 -maxdepth 1 ! -name overlay2 -exec cp -a {} "../../$2/_data/" \;
    touch "../../$2/_data/.planted"' sh "$(seed_volume)" "$1" >/dev/null 2>&1 || true
}

# published_port ROLE CONTAINER-PORT - where it is reached on 127.0.0.1.
published_port() {
  local where
  where=$(docker port "$(container "$1")" "$2/tcp") || fail "port $2 of $(container "$1") is not published" "scripts/sandbox down --name $name, then up"
  printf '%s' "${where##*:}"
}

# wait_for_host_key ROLE - print the public host key as soon as all of it is there.
wait_for_host_key() {
  local end=$((SECONDS + 90)) key
  while ((SECONDS < end)); do
    key=$(docker exec "$(container "$1")" cat /etc/ssh/ssh_host_ed25519_key.pub 2>/dev/null) || :
    if [[ $key == ssh-ed25519\ *\ * ]]; then
      printf '%s' "${key% *}"
      return 0
    fi
    sleep 0.1
  done
  docker logs --tail 10 "$(container "$1")" >&2
  fail "$(container "$1") made no host key within 90 s"
}

ssh_to() {
  local role=$1
  shift
  ssh -F "$state/ssh_config" "$role.$name.sandbox" "$@"
}

# wait_for_ssh ROLE - until a login works, at most 90 s. The origin's user may do nothing but git.
wait_for_ssh() {
  local end=$((SECONDS + 90)) role=$1 error probe
  probe=(ssh -F "$state/ssh_config" -o ConnectTimeout=3 "$role.$name.sandbox" true)
  [[ $role != origin ]] || probe=(git -C "$state/laptop" ls-remote --quiet origin)
  while ((SECONDS < end)); do
    error=$(timeout 10 "${probe[@]}" 2>&1 </dev/null) && return 0
    sleep 0.2
  done
  fail "$role lets nobody in over ssh: $error" "docker logs $(container "$role"); docker exec $(container "$role") tail /var/log/sshd.log"
}

wait_for_engine_over_ssh() {
  local end=$((SECONDS + 120))
  while ((SECONDS < end)); do
    ssh_to "$1" timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1 </dev/null && return 0
    sleep 0.2
  done
  docker exec "$(container "$1")" tail -n 15 /var/log/dockerd.log >&2 || true
  fail "the engine of $1 does not answer" "docker exec $(container "$1") tail /var/log/dockerd.log"
}
