# Looks at a stack over all nodes.
# $1 the stack. One JSON object a line, after a line that says what it is; the manager's own word about the Swarm first,
# as that is there also where nothing else is. What a task is made of is said once for all that are made of the same, under a
# number; and of what a service was before, only what it used.
set -u
service='{"ID":{{json .ID}},"Spec":{{json .Spec}},"UpdateStatus":{{json .UpdateStatus}}{{with .PreviousSpec}}{{with .TaskTemplate.ContainerSpec}},
"PreviousSpec":{"TaskTemplate":{"ContainerSpec":{"Configs":{{json .Configs}},"Secrets":{{json .Secrets}}}}}{{end}}{{end}}}'
task='{"ID":{{json .ID}},"ServiceID":{{json .ServiceID}},"NodeID":{{json .NodeID}},{{if .Slot}}"Slot":{{json .Slot}},{{end}}
"CreatedAt":{{json .CreatedAt}},"DesiredState":{{json .DesiredState}},"Status":{{json .Status}}}'
one_line() { printf '%s' "$1" | tr -d '\n'; }
printf 'cm info\n'
docker info --format '{{json .Swarm}}' || exit
printf 'cm nodes\n'
nodes=$(docker node ls -q) || exit
docker node inspect --format '{{json .}}' $nodes || exit
printf 'cm services\n'
services=$(docker service ls -q --filter "label=com.docker.stack.namespace=$1") || exit
[ -n "$services" ] || { printf 'cm end\n'; exit 0; }
# One that is removed meanwhile is left out, and so is a task.
docker service inspect --format "$(one_line "$service")" $services 2>/dev/null
printf 'cm tasks\n'
tasks=$(docker service ps -q --no-trunc $services 2>/dev/null)
[ -z "$tasks" ] || docker inspect --type task --format "$(one_line "$task"){{println}}{{json .Spec}}" $tasks 2>/dev/null |
    LC_ALL=C awk '
        NR % 2 { task = $0; next }
        !($0 in number) { number[$0] = ++count; print "spec " count " " $0 }
        { print "task " number[$0] " " task }'
printf 'cm images\n'
images=$(docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' $services 2>/dev/null | sort -u)
for image in $images; do
    id=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) && printf '%s %s\n' "$image" "$id"
done
printf 'cm end\n'
