#!/usr/bin/env bash
# Starts, stops and breaks a Holdfast cluster of real processes on this machine; `scripts/cluster.sh help` says how.
#
# What it keeps true:
# - It signals a process only after /proc has shown that it is the one it started for that data directory.
# - It removes only what it made, and takes no directory over that it did not make.
# - `up` returns 0 only when every process answers and the coordinator calls the cluster healthy.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/cluster.sh COMMAND [OPTIONS]

  up                build, start what is not running, wait until all of it is ready
  down [--wipe]     stop everything; --wipe also removes its data
  status            what runs, and what the coordinator says of it
  kill I            kill -9 a process             (I: a node's number, or `coordinator`)
  stop I            stop it gracefully (SIGTERM)
  start I           start it again
  restart I         stop it gracefully and start it again
  logs [I] [-f]     the ends of the logs; -f follows them
  add               start one more node, which joins by itself
  decommission I    have what node I holds moved elsewhere; `status` says when it is drained
  remove I          take node I out, and its data: when it is drained, or lost and repaired elsewhere
  replace I         give node I an empty disk, which is filled again

  --data DIR        where the cluster keeps everything      (./data)
  --port P          the coordinator's port; node I has P+I  (8080)
  --nodes N         how many storage nodes                  (4)        up only
  --s3-port P       the port of the S3 protocol             (9000; with another --port: 920 above that)  up only
  --loglevel L      error, warn, info or debug              (error)    up only

Here a node that is silent for 30 s is lost, deleted bytes go after 10 s, and bytes that nothing names after 60 s, when the census of every five
minutes sees them; a coordinator started by hand takes its time (`coordinator --help`).
A directory remembers its options and its nodes: later commands need only --data. Clusters with other --data and --port run side by side.
HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them. Where the cluster asks for keys (HOLDFAST_AUTH=on), these commands go by
HOLDFAST_API_KEY, or by the admin key in the coordinator's log.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ready_s_max=60 # a process may have a log to replay
stop_s_max=35  # a graceful end waits up to 30 s for requests under way
nodes_max=64

fail() { echo "cluster.sh: $*" >&2; exit 1; }

# ---- options -------------------------------------------------------------------------------------------------------

parse_options() {
  command=${1:-help}
  [[ $command != -h && $command != --help ]] || command=help
  [[ $# -gt 0 ]] && shift
  target='' wipe='' follow='' given_data=./data given_port='' given_nodes='' given_s3_port='' given_loglevel=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --wipe) wipe=1 ;;
      -f | --follow) follow=1 ;;
      -h | --help) command=help ;;
      --data=* | --port=* | --nodes=* | --s3-port=* | --loglevel=*) set_option "${1%%=*}" "${1#*=}" ;;
      --data | --port | --nodes | --s3-port | --loglevel)
        [[ $# -ge 2 ]] || fail "$1 needs a value"
        set_option "$1" "$2"
        shift
        ;;
      -*) fail "unknown option $1; \`scripts/cluster.sh help\` lists them" ;;
      *) [[ -z $target ]] || fail "one process at a time: $target or $1?"; target=$1 ;;
    esac
    shift
  done
  [[ -z $wipe || $command == down ]] || fail "--wipe goes with down"
  [[ -z $follow || $command == logs ]] || fail "-f goes with logs"
  [[ $command == up || -z $given_nodes$given_s3_port$given_loglevel ]] || fail "--nodes, --s3-port and --loglevel go with up"
}

set_option() {
  case $1 in
    --data) [[ -n $2 ]] || fail "--data needs a directory"; given_data=$2 ;;
    --port) check_number "$1" "$2" 1 65535; given_port=$2 ;;
    --s3-port) check_number "$1" "$2" 1 65535; given_s3_port=$2 ;;
    --nodes) check_number "$1" "$2" 1 "$nodes_max"; given_nodes=$2 ;;
    --loglevel)
      [[ $2 =~ ^(error|warn|info|debug)$ ]] || fail "--loglevel $2: must be error, warn, info or debug"
      given_loglevel=$2
      ;;
  esac
}

check_number() { # flag value least most
  if ! [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || (($2 < $3 || $2 > $4)); then fail "$1 $2: must be a number from $3 to $4"; fi
}

# ---- what a data directory remembers ---------------------------------------------------------------------------------

is_ours() { [[ -f $data/run/cluster.env ]]; }

read_settings() {
  nodes=4 port=8080 s3_port='' loglevel=error removed=''
  is_ours || return 0
  local name value
  while IFS='=' read -r name value; do
    case $name in
      nodes | port | s3_port) [[ $value =~ ^[0-9]+$ ]] && printf -v "$name" '%s' "$value" ;;
      loglevel) [[ $value =~ ^[a-z]+$ ]] && loglevel=$value ;;
      removed) [[ $value =~ ^[0-9\ ]*$ ]] && removed=$value ;;
    esac
  done <"$data/run/cluster.env"
  return 0
}

# The settings of `up`: what was given, else what is remembered, else the defaults.
choose_settings() {
  local running
  running=$(running_names)
  local i
  for ((i = ${given_nodes:-$nodes} + 1; i <= nodes; i++)); do
    [[ ! -d $data/n$i ]] || fail "$data has $nodes nodes; with $given_nodes, what lies on n$i would be out of reach"
  done
  if [[ -n $running ]]; then
    [[ -z $given_port || $given_port == "$port" ]] || fail "$data is running on port $port; \`down\` first to move it to $given_port"
    [[ -z $given_nodes || $given_nodes == "$nodes" ]] || fail "$data is running with $nodes nodes; \`down\` first to have $given_nodes"
  fi
  port=${given_port:-$port} nodes=${given_nodes:-$nodes} s3_port=${given_s3_port:-${s3_port:-$((${given_port:-$port} + 920))}} loglevel=${given_loglevel:-$loglevel}
  ((port + nodes <= 65535)) || fail "--port $port: node $nodes would be on port $((port + nodes)), and 65535 is the last"
  ((s3_port <= 65535)) || fail "--port $port: the S3 protocol would be on port $s3_port, and 65535 is the last; choose one with --s3-port"
  ((s3_port < port || s3_port > port + nodes)) || fail "--s3-port $s3_port: $port to $((port + nodes)) are the coordinator's and the nodes'"
}

write_settings() {
  mkdir -p "$data/run" "$data/logs"
  printf 'nodes=%s\nport=%s\ns3_port=%s\nloglevel=%s\nremoved=%s\n' \
    "$nodes" "$port" "$s3_port" "$loglevel" "$removed" >"$data/run/cluster.env.new"
  mv "$data/run/cluster.env.new" "$data/run/cluster.env"
}

need_cluster() {
  is_ours || fail "there is no cluster in $data; \`scripts/cluster.sh up --data $given_data\` makes one"
  [[ -z $given_port || $given_port == "$port" ]] || fail "the cluster in $data is on port $port, not $given_port"
}

# One change at a time to one data directory. The lock ends with this script: what it starts does not inherit it.
lock() {
  if command -v flock >/dev/null; then
    exec 9>"$data/run/lock"
    flock --wait 600 9 || fail "another cluster.sh is at work on $data"
  fi
  read_settings # what that one changed counts
}

# ---- processes, by name: coordinator, n1, n2 … -------------------------------------------------------------------------

names() {
  node_names
  echo coordinator
}

# The highest number was once given; those that were removed since are not used again.
node_names() {
  local i
  for ((i = 1; i <= nodes; i++)); do
    is_removed "$i" || echo "n$i"
  done
}

is_removed() { [[ " $removed " == *" $1 "* ]]; }

# The name of what the user called I: a node's number, its name, or `coordinator`.
name_of() {
  [[ -n $1 ]] || fail "$command needs a node's number (1 to $nodes) or \`coordinator\`"
  [[ $1 == coordinator ]] && { echo coordinator; return; }
  local number=${1#n}
  if ! [[ $number =~ ^[1-9][0-9]?$ ]] || ((number > nodes)); then
    fail "there is no $1: nodes are 1 to $nodes, and \`coordinator\`"
  fi
  is_removed "$number" && fail "node $number was removed"
  echo "n$number"
}

port_of() { if [[ $1 == coordinator ]]; then echo "$port"; else echo $((port + ${1#n})); fi; }

program_of() { if [[ $1 == coordinator ]]; then echo coordinator; else echo storage-node; fi; }

# The pid of a process that runs, and was started for this data directory: a pid file alone may name a recycled pid.
pid_of() {
  local pid file=$data/run/$1.pid
  [[ -f $file ]] && read -r pid <"$file" && [[ $pid =~ ^[0-9]+$ ]] || return 1
  is_our_process "$pid" "$1" || return 1
  echo "$pid"
}

is_our_process() { # pid name
  [[ -r /proc/$1/cmdline ]] && grep -qzFx -- "$data/$2" "/proc/$1/cmdline" 2>/dev/null &&
    grep -qzE -- "(^|/)$(program_of "$2")\$" "/proc/$1/cmdline" 2>/dev/null
}

running_names() {
  local name
  for name in $(names); do
    if pid_of "$name" >/dev/null; then echo "$name"; fi
  done
}

# ---- starting -----------------------------------------------------------------------------------------------------------

find_programs() {
  if [[ -n ${HOLDFAST_BIN_DIR:-} ]]; then
    bin=$(cd "$HOLDFAST_BIN_DIR" 2>/dev/null && pwd) || fail "HOLDFAST_BIN_DIR=$HOLDFAST_BIN_DIR is not a directory"
  else
    command -v cargo >/dev/null || fail "cargo is not installed; https://rustup.rs installs it"
    (cd "$root" && cargo build --release --locked -p coordinator -p storage-node) || fail "the build failed"
    bin=${CARGO_TARGET_DIR:-$root/target}/release
  fi
  [[ -x $bin/coordinator && -x $bin/storage-node ]] || fail "$bin has no coordinator and storage-node"
}

# Whoever listens on a TCP port of this machine, as far as /proc tells.
port_owner() {
  local inode fd pid
  inode=$(awk -v port=":$(printf '%04X' "$1")" \
    '$4 == "0A" && substr($2, length($2) - 4) == port { print $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  [[ -n $inode ]] || return 1
  fd=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -print -quit 2>/dev/null || true)
  [[ -n $fd ]] || { echo "a process of another user"; return; }
  pid=${fd#/proc/} pid=${pid%%/*}
  echo "process $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-120))"
}

# Refuses to start the named processes where someone else listens on the port of one.
check_ports() { # names
  local name owner
  for name in "$@"; do
    if ! pid_of "$name" >/dev/null && owner=$(port_owner "$(port_of "$name")"); then
      fail "port $(port_of "$name") for $name is taken by $owner; choose another with --port"
    fi
    if [[ $name == coordinator ]] && ! pid_of "$name" >/dev/null && owner=$(port_owner "$s3_port"); then
      fail "port $s3_port for the S3 protocol is taken by $owner; choose another with --s3-port"
    fi
  done
}

make_cluster_file() {
  [[ -f $data/cluster.json ]] && return
  "$bin/coordinator" new-cluster --cluster-file "$data/cluster.json" || fail "cannot make $data/cluster.json"
}

launch() { # name flags…
  local name=$1 log=$data/logs/$1.log i pid node
  local arguments=(--listen "127.0.0.1:$(port_of "$name")" --data "$data/$name" --cluster-file "$data/cluster.json" --loglevel "$loglevel")
  if [[ $name == coordinator ]]; then
    for node in $(node_names); do arguments+=(--node "http://127.0.0.1:$(port_of "$node")"); done
    arguments+=(--s3-listen "127.0.0.1:$s3_port")
    arguments+=(--trash-window-s 10 --orphan-grace-s 60 --census-interval-s "${HOLDFAST_CENSUS_INTERVAL_S:-300}" --node-lost-after-s 30)
  else
    arguments+=(--node-id "$name" --coordinator "http://127.0.0.1:$port")
  fi
  arguments+=("${@:2}")
  # A session of its own: neither the terminal's end nor its Ctrl-C reaches it. No inherited lock.
  setsid "$bin/$(program_of "$name")" "${arguments[@]}" >>"$log" 2>&1 </dev/null 9>&- &
  pid=$!
  # Until it has become the program, /proc shows this script in its place.
  for ((i = 0; i < 100; i++)); do
    if is_our_process "$pid" "$name" || ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.02
  done
  echo "$pid" >"$data/run/$name.pid"
}

# The key that administers the cluster: the one that is given, or the one that the coordinator showed when it made it.
admin_key() {
  if [[ -n ${HOLDFAST_API_KEY:-} ]]; then echo "$HOLDFAST_API_KEY"; return; fi
  sed -n 's/^Admin API Key: \([^ ]*\).*/\1/p' "$data/logs/coordinator.log" 2>/dev/null | tail -n 1
}

# curl, as whoever administers the cluster. The key goes where no list of processes shows it.
call() {
  local key
  key=$(admin_key)
  curl -s --noproxy '*' -H @- "$@" <<<"${key:+Authorization: Bearer $key}"
}

asks_for_keys() {
  [[ $(curl -s --noproxy '*' -m 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/system/health") == 401 ]]
}

is_ready() { # name
  curl -fs --noproxy '*' -m 2 -o /dev/null "http://127.0.0.1:$(port_of "$1")/health" || return
  # An answer is enough: without a key it may be a refusal.
  [[ $1 != coordinator ]] || curl -s --noproxy '*' -m 2 -o /dev/null "http://127.0.0.1:$s3_port/"
}

wait_ready() { # name
  local deadline=$((SECONDS + ready_s_max))
  until is_ready "$1"; do
    pid_of "$1" >/dev/null || died "$1" "ended while it started"
    ((SECONDS < deadline)) || died "$1" "did not answer within $ready_s_max s"
    sleep 0.1
  done
}

# Until every node answers; where all disks are full no write is taken, and the cluster starts all the same.
wait_healthy() {
  local deadline=$((SECONDS + ready_s_max)) answer=''
  until [[ $answer =~ \"healthyNodes\":\ *[1-9] && $answer =~ \"unhealthyNodes\":\ *0 ]]; do
    pid_of coordinator >/dev/null || died coordinator "ended while it started"
    ((SECONDS < deadline)) || died coordinator "did not call the cluster healthy within $ready_s_max s: ${answer:-no answer}"
    answer=$(call -m 2 "http://127.0.0.1:$port/system/health" || true)
    sleep 0.1
  done
}

# Says what became of a process, with its last words, and takes back what this run started.
died() { # name what
  echo "cluster.sh: $1 $2. The end of $data/logs/$1.log:" >&2
  tail -n 20 "$data/logs/$1.log" >&2 || true
  local name
  for name in "${started[@]}"; do
    end_process "$name" >&2
  done
  exit 1
}

# Starts the named processes that do not run; the coordinator last, as it asks the nodes who they are.
start_all() {
  local name waiting=()
  started=()
  check_ports "$@"
  for name in "$@"; do
    if ! pid_of "$name" >/dev/null; then waiting+=("$name"); fi
  done
  ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
  for name in "${waiting[@]}"; do
    if [[ $name == coordinator ]]; then wait_nodes_ready "${waiting[@]}"; fi
    launch "$name"
    started+=("$name")
  done
  for name in "$@"; do wait_ready "$name"; done
}

wait_nodes_ready() {
  local name
  for name in "$@"; do
    if [[ $name != coordinator ]]; then wait_ready "$name"; fi
  done
}

# ---- ending -------------------------------------------------------------------------------------------------------------

# SIGTERM, then SIGKILL for what does not end in time.
end_process() { # name
  local pid deadline=$((SECONDS + stop_s_max))
  pid=$(pid_of "$1") || return 0
  kill -TERM "$pid" 2>/dev/null || true
  kill -CONT "$pid" 2>/dev/null || true # one that was frozen must wake to end
  while is_our_process "$pid" "$1"; do
    if ((SECONDS >= deadline)); then
      echo "$1 did not end within $stop_s_max s: killed"
      kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + stop_s_max))
    fi
    sleep 0.1
  done
  rm -f "$data/run/$1.pid"
}

kill_process() { # name
  local pid
  pid=$(pid_of "$1") || fail "$1 is not running"
  kill -KILL "$pid"
  while is_our_process "$pid" "$1"; do sleep 0.05; done
  rm -f "$data/run/$1.pid"
}

# ---- commands -----------------------------------------------------------------------------------------------------------

up() {
  if [[ -d $data && -n $(ls -A "$data") ]] && ! is_ours; then
    fail "$data is not empty and was not made by cluster.sh; choose another --data"
  fi
  choose_settings
  local all
  mapfile -t all < <(names)
  check_ports "${all[@]}" # before a build of minutes
  find_programs
  mkdir -p "$data/run"
  lock
  choose_settings
  write_settings
  mapfile -t all < <(names)
  make_cluster_file
  start_all "${all[@]}"
  wait_healthy
  what_to_try
}

what_to_try() {
  local where="$nodes nodes on $((port + 1))–$((port + nodes))"
  if ((nodes == 1)); then where="one node on $((port + 1))"; fi
  echo "Holdfast is up: coordinator on http://localhost:$port, $where, data in $data."
  case $nodes in
    1) echo "Writes are refused: two nodes must have what is written. \`${0} add --data $data\` starts another." ;;
    2) echo "What is written is one copy short, and refused while a node is down. \`${0} add --data $data\` starts another." ;;
  esac
  if asks_for_keys; then
    cat <<TEXT
The S3 protocol is on http://localhost:$s3_port. Both ask for a key: the first one stands in $data/logs/coordinator.log, and makes others.

Try:
  key=\$(sed -n 's/^Admin API Key: //p' $data/logs/coordinator.log | tail -n 1)
  curl -H "Authorization: Bearer \$key" -F "file=@README.md" http://localhost:$port/upload
  curl -H "Authorization: Bearer \$key" "http://localhost:$port/files"
  curl -H "Authorization: Bearer \$key" -d '{"name":"me"}' http://localhost:$port/admin/keys
TEXT
    return
  fi
  cat <<TEXT
The S3 protocol is on http://localhost:$s3_port; any key will do.

Try:
  curl -F "file=@README.md" http://localhost:$port/upload
  curl "http://localhost:$port/files"
  curl -o copy.md "http://localhost:$port/download?filename=README.md"
  curl "http://localhost:$port/versions?filename=README.md"
  curl -X DELETE "http://localhost:$port/delete?filename=README.md"
  AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any aws --endpoint-url http://localhost:$s3_port s3 ls s3://files
TEXT
}

down() {
  if ! is_ours; then
    echo "there is no cluster in $data"
    return
  fi
  need_cluster
  lock
  # The coordinator first: it finishes what it has begun while the nodes still answer.
  end_process coordinator
  local name
  for name in $(names); do end_process "$name"; done
  echo "down: $data"
  if [[ -n $wipe ]]; then wipe_data; fi
}

# Removes what `up` made, by name, and the directory if nothing else lies in it.
wipe_data() {
  local name
  for name in $(names); do rm -rf -- "${data:?}/$name"; done
  rm -rf -- "${data:?}/logs" "${data:?}/cluster.json" "${data:?}/run"
  if rmdir -- "$data" 2>/dev/null; then
    echo "wiped: $data"
  else
    echo "wiped what the cluster had in $data; something else is left there"
  fi
}

state_of() { # name pid
  local state
  state=$(sed -n 's/^State:\t\([A-Za-z]\).*/\1/p' "/proc/$2/status" 2>/dev/null || true)
  if [[ $state == T ]]; then echo frozen; elif is_ready "$1"; then echo ready; else echo "not answering"; fi
}

status() {
  need_cluster
  local name pid all_ready=0 state resident_kib resident
  printf '%-12s %-14s %-8s %-6s %-10s %s\n' process state pid port resident member
  for name in coordinator $(names | grep -v coordinator); do
    if pid=$(pid_of "$name"); then
      state=$(state_of "$name" "$pid")
      resident_kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status" 2>/dev/null || echo 0)
      resident="$((${resident_kib:-0} / 1024)) MiB"
    else
      state=down pid=- resident=-
    fi
    printf '%-12s %-14s %-8s %-6s %-10s %s\n' "$name" "$state" "$pid" "$(port_of "$name")" "$resident" "$(member_state "$name")"
    [[ $state == ready ]] || all_ready=1
  done
  call -m 5 "http://127.0.0.1:$port/system/health" && echo
  return $all_ready
}

start_one() {
  local name
  name=$(name_of "$target")
  if pid_of "$name" >/dev/null; then echo "$name is running already"; return; fi
  find_programs
  start_all "$name"
  echo "$name is up on port $(port_of "$name")"
}

stop_one() {
  local name
  name=$(name_of "$target")
  pid_of "$name" >/dev/null || fail "$name is not running"
  end_process "$name"
  echo "$name is stopped"
}

kill_one() {
  local name
  name=$(name_of "$target")
  kill_process "$name"
  echo "$name is killed"
}

restart_one() {
  local name
  name=$(name_of "$target")
  end_process "$name"
  start_one
}

# What a node is to the cluster (active, draining, drained, lost), as the coordinator says.
member_state() { # name
  [[ $1 == coordinator ]] && return
  local told
  told=$(call -m 5 "http://127.0.0.1:$port/admin/nodes/$1" || true)
  if [[ $told =~ \"state\":\"([a-z]+)\" ]]; then echo "${BASH_REMATCH[1]}"; else echo -; fi
}

# Asks something of the coordinator; gives up with its reason if it does not do it.
ask() { # method path
  local answer
  answer=$(call -m 30 -w '\n%{http_code}' -X "$1" "http://127.0.0.1:$port$2") || fail "the coordinator does not answer"
  [[ ${answer##*$'\n'} == 2?? ]] || fail "the coordinator refuses: ${answer%$'\n'*}"
}

# The name of the node that the user called I.
node_of() {
  local name
  name=$(name_of "$1") || exit 1
  [[ $name != coordinator ]] || fail "$command is for nodes"
  echo "$name"
}

add_one() {
  [[ -z $target ]] || fail "add takes no number: the next is $((nodes + 1))"
  pid_of coordinator >/dev/null || fail "the coordinator is not running; \`up\` starts it"
  ((nodes < nodes_max)) || fail "$nodes_max nodes are the most"
  ((port + nodes + 1 <= 65535 && port + nodes + 1 != s3_port)) || fail "there is no port for node $((nodes + 1))"
  nodes=$((nodes + 1))
  local name=n$nodes deadline
  check_ports "$name"
  find_programs
  write_settings
  start_all "$name"
  deadline=$((SECONDS + ready_s_max))
  until [[ $(member_state "$name") == active ]]; do
    ((SECONDS < deadline)) || died "$name" "did not join within $ready_s_max s"
    sleep 0.2
  done
  echo "$name has joined on port $(port_of "$name"); chunks move to it until it holds its part"
}

decommission_one() {
  local name
  name=$(node_of "$target")
  ask POST "/admin/nodes/$name/decommission"
  echo "$name is being emptied; \`status\` says when it is drained, and then \`remove ${name#n}\` takes it out"
}

remove_one() {
  local name state
  name=$(node_of "$target")
  state=$(member_state "$name")
  [[ $state == drained || $state == lost ]] || fail "$name is $state; \`decommission ${name#n}\` has it emptied, \`status\` says when it is drained"
  end_process "$name"
  ask DELETE "/admin/nodes/$name"
  removed="${removed:+$removed }${name#n}"
  write_settings
  rm -rf -- "${data:?}/$name"
  echo "$name is taken out"
}

replace_one() {
  local name
  name=$(node_of "$target")
  find_programs
  end_process "$name"
  rm -rf -- "${data:?}/$name"
  check_ports "$name"
  launch "$name" --replace
  started=("$name")
  wait_ready "$name"
  echo "$name has an empty disk; what was on it comes back"
}

logs() {
  need_cluster
  local files=("$data"/logs/*.log) options=(-n 50) name
  if [[ -n $target ]]; then
    name=$(name_of "$target")
    files=("$data/logs/$name.log")
  fi
  [[ -z $follow ]] || options+=(-F)
  [[ -f ${files[0]} ]] || fail "no logs in $data/logs"
  tail "${options[@]}" "${files[@]}"
}

main() {
  parse_options "$@"
  [[ $command != help ]] || { usage; exit 0; }
  data=$(realpath -m -- "$given_data")
  read_settings
  case $command in
    up) up ;;
    down) down ;;
    status) status ;;
    logs) logs ;;
    kill | stop | start | restart | add | decommission | remove | replace)
      need_cluster
      lock
      "${command}_one"
      ;;
    *) fail "unknown command $command; \`scripts/cluster.sh help\` lists them" ;;
  esac
}

main "$@"
