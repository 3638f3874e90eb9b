# shellcheck shell=bash
# The other flavour of a sandbox: three servers that are one Docker Swarm, and the registry they pull from.
#
# Sourced by scripts/sandbox. Every node is a manager that also takes tasks, so that one of them may be lost. The
# registry is Debian's `docker-registry` in a container of its own; it speaks plain HTTP within the sandbox's network,
# and each engine is told so. An engine in a container often has no IPVS: services of a sandbox use
# `endpoint_mode: dnsrr` and ports in `mode: host`.
#
# The caller sets: name, state, parts, platform, debian_mirror, roles, servers.
# shellcheck disable=SC2154,SC2034

registry_address=registry:5000

# is_swarm - whether this sandbox is, or is to be, a Swarm. The mark is written before the first container starts.
is_swarm() { [[ -n ${swarm:-} || -e $state/swarm ]]; }

# choose_flavour - the roles, and the monorepo where none was chosen.
choose_flavour() {
  is_swarm || return 0
  roles=(node1 node2 node3 origin)
  servers=(node1 node2 node3)
  platform=${CM_SANDBOX_PLATFORM_DIR:-$here/../tests/swarm}
}

# mark_flavour - what `up` was asked for stays so: a sandbox does not become one of the other flavour.
mark_flavour() {
  if [[ -e $state/ready && -n ${swarm:-} && ! -e $state/swarm ]]; then
    fail "sandbox $name is up and is not a Swarm" "another --name, or scripts/sandbox down --name $name first"
  fi
  [[ -z ${swarm:-} ]] || touch "$state/swarm"
}

registry_dockerfile() {
  cat <<'DOCKERFILE'
# The registry of a sandbox: Debian's docker-registry, data in memory of the container alone.
ARG BASE
FROM ${BASE}
COPY machine/apt.conf /etc/apt/apt.conf.d/90-machine
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker-registry \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /etc/apt/apt.conf.d/90-machine
COPY config.yml /etc/docker/registry/config.yml
LABEL cm.sandbox.cache=1
CMD ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
DOCKERFILE
}

registry_config() {
  cat <<'YAML'
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
YAML
}

registry_image() { printf 'cm-sandbox/registry:%s' "$({ registry_dockerfile && registry_config; } | sha256sum | cut -c1-12)"; }

ensure_registry() {
  docker image inspect "$(registry_image)" >/dev/null 2>&1 || with_lock "$(machine_dir)/images.lock" 1200 make_registry
}

make_registry() {
  docker image inspect "$(registry_image)" >/dev/null 2>&1 && return 0
  scratch=$(mktemp -d -p "$(roomy_tmp)")
  ensure_base
  mkdir -p "$scratch/context/machine"
  registry_dockerfile >"$scratch/context/Dockerfile"
  registry_config >"$scratch/context/config.yml"
  apt_settings >"$scratch/context/machine/apt.conf"
  build "$scratch/context" Dockerfile "$(registry_image)" --build-arg "BASE=$base_image"
  abandon_images
}

start_registry() {
  docker run --detach --name "$(container registry)" --hostname registry --label "cm.sandbox=$name" \
    --network "cm-sandbox-$name" --network-alias registry "$(registry_image)" >/dev/null
}

# make_swarm - the first server begins it, the others join as managers.
make_swarm() {
  local role token
  info 'making one Swarm of the servers'
  together allow_registry "${servers[@]}"
  docker exec "$(container node1)" docker swarm init --advertise-addr eth0 >/dev/null
  token=$(docker exec "$(container node1)" docker swarm join-token --quiet manager)
  for role in "${servers[@]:1}"; do
    docker exec "$(container "$role")" docker swarm join --token "$token" node1:2377 >/dev/null
  done
}

# allow_registry ROLE - the engine takes the registry without TLS; it reads that without a restart.
allow_registry() {
  wait_for_inner_engine "$(container "$1")" || fail "the engine of $1 does not answer" "docker exec $(container "$1") tail /var/log/dockerd.log"
  docker exec "$(container "$1")" sh -euc '
    mkdir -p /etc/docker
    printf "{\"insecure-registries\": [\"%s\"]}\n" "$1" >/etc/docker/daemon.json
    kill -HUP "$(cat /run/docker.pid)"' sh "$registry_address"
}

write_swarm_env() {
  local role
  printf 'export %s=%q\n' \
    CM_SANDBOX "$name" \
    DEPLOY_USER curateme \
    CM_SSH_CONFIG "$state/ssh_config" \
    GIT_SSH_COMMAND "$(git_ssh_command)" \
    CM_LOCK_FILE "$state/deploy.lock" \
    APP_URL "http://127.0.0.1:$(published_port node1 80)"
  for role in "${servers[@]}"; do
    printf 'export %s_VPS_IP=%q\n' "${role^^}" "$role.$name.sandbox"
    printf 'export %s_URL=%q\n' "${role^^}" "http://127.0.0.1:$(published_port "$role" 80)"
  done
}
