# Looks at a stack over all nodes.
# $1 the stack. One JSON object a line, after a line that says what it is; the manager's own word about the Swarm first,
# as that is there also where nothing else is.
set -u
printf 'cm info\n'
docker info --format '{{json .Swarm}}' || exit
printf 'cm nodes\n'
nodes=$(docker node ls -q) || exit
docker node inspect --format '{{json .}}' $nodes || exit
printf 'cm services\n'
services=$(docker service ls -q --filter "label=com.docker.stack.namespace=$1") || exit
[ -n "$services" ] || { printf 'cm end\n'; exit 0; }
# One that is removed meanwhile is left out, and so is a task.
docker service inspect --format '{{json .}}' $services 2>/dev/null
printf 'cm tasks\n'
tasks=$(docker service ps -q --no-trunc $services 2>/dev/null)
[ -z "$tasks" ] || docker inspect --type task --format '{{json .}}' $tasks 2>/dev/null
printf 'cm images\n'
images=$(docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' $services 2>/dev/null | sort -u)
for image in $images; do
    id=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) && printf '%s %s\n' "$image" "$id"
done
printf 'cm end\n'
