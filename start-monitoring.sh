#!/usr/bin/env bash
# Watches a cluster: Prometheus, Grafana with the dashboards, Loki and Promtail; `./start-monitoring.sh help` says how.
#
# What it keeps true:
# - It signals a process only after /proc has shown that it is the one it started for that state directory.
# - It waits for nothing longer than a bound, and what could not be started is said, with how to get it.
# - It changes nothing of the cluster.
set -euo pipefail

usage() {
  cat <<'TEXT'
./start-monitoring.sh [COMMAND] [OPTIONS]

  up        start what is not running, and point it at the cluster as it is now (the default)
  stop      stop everything; what was recorded stays
  status    what runs

  --data DIR           the cluster's directory                            (./data)
  --port P             the coordinator's port; node I has P+I             (what the directory remembers, else 8080)
  --nodes N            how many storage nodes                             (what the directory remembers, else 4)
  --state DIR          where it keeps what is recorded                    (./data-monitoring)
  --address A          address to serve on                                (127.0.0.1)
  --prometheus-port P  --grafana-port P  --loki-port P                    (9090, 3000, 3100)
  --without-docker     use the programs of this machine even where Docker answers

It uses Docker Compose where Docker answers, and otherwise the programs prometheus, grafana-server, loki and promtail that it finds in
PATH or in target/test-tools/bin. Grafana's first user is admin with the password admin; the page is http://127.0.0.1:3000.
After nodes were added or removed, `up` once more points Prometheus at them. The state directory remembers the options of the last `up`.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ready_s_max=30    # Loki takes the longest
stop_s_max=15     # Prometheus writes what it has in memory
docker_s_max=600  # images may have to come from far
programs=(prometheus loki promtail grafana)

fail() { echo "start-monitoring.sh: $*" >&2; exit 1; }

# ---- options -------------------------------------------------------------------------------------------------------

parse_options() {
  command=up given_data='' given_port='' given_nodes='' given_state=./data-monitoring without_docker=''
  given_address='' given_prometheus_port='' given_grafana_port='' given_loki_port=''
  if [[ $# -gt 0 && $1 != -* ]]; then
    command=$1
    shift
  fi
  while [[ $# -gt 0 ]]; do
    case $1 in
      --without-docker) without_docker=1 ;;
      -h | --help) command=help ;;
      --*=*) set_option "${1%%=*}" "${1#*=}" ;;
      --*)
        [[ $# -ge 2 ]] || fail "$1 needs a value"
        set_option "$1" "$2"
        shift
        ;;
      *) fail "unknown word $1; \`./start-monitoring.sh help\` lists what there is" ;;
    esac
    shift
  done
}

set_option() {
  case $1 in
    --data) given_data=$2 ;;
    --state) given_state=$2 ;;
    --address) [[ $2 =~ ^[0-9a-zA-Z.:-]+$ ]] || fail "--address $2: must be an address"; given_address=$2 ;;
    --port) check_number "$1" "$2" 65535; given_port=$2 ;;
    --nodes) check_number "$1" "$2" 64; given_nodes=$2 ;;
    --prometheus-port) check_number "$1" "$2" 65535; given_prometheus_port=$2 ;;
    --grafana-port) check_number "$1" "$2" 65535; given_grafana_port=$2 ;;
    --loki-port) check_number "$1" "$2" 65535; given_loki_port=$2 ;;
    *) fail "unknown option $1; \`./start-monitoring.sh help\` lists them" ;;
  esac
}

check_number() { # flag value most
  if ! [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || (($2 > $3)); then fail "$1 $2: must be a number from 1 to $3"; fi
}

# ---- the cluster -----------------------------------------------------------------------------------------------------

# What the cluster's directory remembers, where scripts/cluster.sh made it.
read_cluster() {
  nodes=4 port=8080 removed=''
  local name value
  if [[ -f $data/run/cluster.env ]]; then
    while IFS='=' read -r name value; do
      case $name in
        nodes | port) [[ $value =~ ^[0-9]+$ ]] && printf -v "$name" '%s' "$value" ;;
        removed) [[ $value =~ ^[0-9\ ]*$ ]] && removed=$value ;;
      esac
    done <"$data/run/cluster.env"
  fi
  port=${given_port:-$port} nodes=${given_nodes:-$nodes}
}

# Prometheus looks at this file by itself: it is written whole.
write_targets() {
  local i lines=()
  lines+=("{\"targets\": [\"127.0.0.1:$port\"], \"labels\": {\"service\": \"coordinator\", \"process\": \"coordinator\"}}")
  for ((i = 1; i <= nodes; i++)); do
    [[ " $removed " != *" $i "* ]] || continue
    lines+=("{\"targets\": [\"127.0.0.1:$((port + i))\"], \"labels\": {\"service\": \"storage-node\", \"process\": \"n$i\"}}")
  done
  local IFS=,
  printf '[%s]\n' "${lines[*]}" >"$state/prometheus/targets/cluster.json.new"
  mv "$state/prometheus/targets/cluster.json.new" "$state/prometheus/targets/cluster.json"
}

# The state directory, with the configuration that Prometheus reads beside its targets.
make_state() {
  mkdir -p "$state/run" "$state/logs" "$state/prometheus/targets" "$state/"{prometheus,loki,promtail,grafana}-data
  cp "$root/monitoring/prometheus/prometheus.yml" "$root/monitoring/prometheus/alerts.yml" "$state/prometheus/"
  write_targets
  write_settings
}

# What later commands need to know of the last `up`.
write_settings() {
  printf 'data=%s\naddress=%s\nprometheus_port=%s\ngrafana_port=%s\nloki_port=%s\ncluster_port=%s\ncluster_nodes=%s\n' \
    "$data" "$address" "$prometheus_port" "$grafana_port" "$loki_port" "$given_port" "$given_nodes" >"$state/run/settings.env"
}

# What was given, else what is remembered, else the defaults.
read_settings() {
  local name value
  data=$PWD/data address=127.0.0.1 prometheus_port=9090 grafana_port=3000 loki_port=3100
  if [[ -f $state/run/settings.env ]]; then
    while IFS='=' read -r name value; do
      case $name in
        data | address | prometheus_port | grafana_port | loki_port) printf -v "$name" '%s' "$value" ;;
        # Of that directory; another one has its own.
        cluster_port) [[ -n $given_data$given_port ]] || given_port=$value ;;
        cluster_nodes) [[ -n $given_data$given_nodes ]] || given_nodes=$value ;;
      esac
    done <"$state/run/settings.env"
  fi
  [[ -z $given_data ]] || data=$(realpath -m -- "$given_data")
  address=${given_address:-$address} prometheus_port=${given_prometheus_port:-$prometheus_port}
  grafana_port=${given_grafana_port:-$grafana_port} loki_port=${given_loki_port:-$loki_port}
  # Where what listens on that address is reached from this machine.
  reach=$address
  [[ $address != 0.0.0.0 ]] || reach=127.0.0.1
}

# What the configurations of both ways name.
export_settings() {
  export HOLDFAST_MONITORING_DIR=$state HOLDFAST_MONITORING_ADDRESS=$address HOLDFAST_MONITORING_REACH=$reach
  export HOLDFAST_LOGS=$data/logs
  export HOLDFAST_PROMETHEUS_PORT=$prometheus_port HOLDFAST_GRAFANA_PORT=$grafana_port HOLDFAST_LOKI_PORT=$loki_port
  export HOLDFAST_LOKI_DATA=$state/loki-data HOLDFAST_PROMTAIL_DATA=$state/promtail-data HOLDFAST_DASHBOARDS=$root/grafana/dashboards
  HOLDFAST_USER=$(id -u):$(id -g)
  export HOLDFAST_USER
}

# ---- with Docker -----------------------------------------------------------------------------------------------------

docker_answers() {
  [[ -z $without_docker ]] && command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1 &&
    timeout 10 docker compose version >/dev/null 2>&1
}

compose() { timeout "$docker_s_max" docker compose -f "$root/monitoring/docker-compose.yml" "$@"; }

# ---- with the programs of this machine ---------------------------------------------------------------------------------

# Where the program is, if it is the right one: Debian's `loki` analyses pedigrees.
program_of() { # name
  local found candidate
  for candidate in $(candidates_of "$1"); do
    found=$(PATH="$PATH:$tools" command -v "$candidate") || continue
    if [[ $1 != loki ]] || { timeout 10 "$found" -version 2>&1 || true; } | grep -q '^loki, version'; then
      echo "$found"
      return
    fi
  done
  return 1
}

candidates_of() { if [[ $1 == grafana ]]; then echo grafana-server grafana; else echo "$1"; fi; }

how_to_get() {
  case $1 in
    prometheus) echo "scripts/install-test-deps.sh takes it from Debian's package; or https://prometheus.io/download" ;;
    grafana) echo "https://grafana.com/grafana/download, or Docker" ;;
    *) echo "https://github.com/grafana/loki/releases, or Docker" ;;
  esac
}

port_of() {
  case $1 in prometheus) echo "$prometheus_port" ;; grafana) echo "$grafana_port" ;; loki) echo "$loki_port" ;; esac
}

# The pid of a program that runs, and was started for this state directory: a pid file alone may name a recycled pid.
pid_of() {
  local pid file=$state/run/$1.pid
  [[ -f $file ]] && read -r pid <"$file" && [[ $pid =~ ^[0-9]+$ ]] || return 1
  is_ours "$pid" || return 1
  echo "$pid"
}

is_ours() { grep -qzFx -- "HOLDFAST_MONITORING_DIR=$state" "/proc/$1/environ" 2>/dev/null; }

is_free() { ! (exec 3<>"/dev/tcp/$reach/$1") 2>/dev/null; }

launch() { # name program
  local arguments=()
  case $1 in
    prometheus)
      arguments=(--config.file="$state/prometheus/prometheus.yml" --storage.tsdb.path="$state/prometheus-data"
        --storage.tsdb.retention.time=15d --web.listen-address="$address:$prometheus_port")
      ;;
    loki) arguments=(-config.file="$root/monitoring/loki/loki.yml" -config.expand-env=true) ;;
    promtail) arguments=(-config.file="$root/monitoring/promtail/promtail.yml" -config.expand-env=true) ;;
    grafana)
      [[ ${2##*/} == grafana-server ]] || arguments=(server)
      arguments+=(--homepath "${GRAFANA_HOME:-/usr/share/grafana}")
      export GF_SERVER_HTTP_ADDR=$address GF_SERVER_HTTP_PORT=$grafana_port GF_PATHS_DATA=$state/grafana-data
      export GF_PATHS_LOGS=$state/logs GF_PATHS_PROVISIONING=$root/grafana/provisioning
      export GF_SECURITY_ADMIN_USER=admin GF_SECURITY_ADMIN_PASSWORD=admin GF_ANALYTICS_REPORTING_ENABLED=false
      export GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH=$HOLDFAST_DASHBOARDS/overview.json
      ;;
  esac
  # A session of its own: neither the terminal's end nor its Ctrl-C reaches it.
  setsid "$2" "${arguments[@]}" >>"$state/logs/$1.log" 2>&1 </dev/null &
  echo "$!" >"$state/run/$1.pid"
}

start_all() {
  local name program taken=() missing=() started=()
  for name in "${programs[@]}"; do
    if pid_of "$name" >/dev/null; then continue; fi
    if ! program=$(program_of "$name"); then
      missing+=("$name is not on this machine: $(how_to_get "$name")")
    elif [[ $name != promtail ]] && ! is_free "$(port_of "$name")"; then
      taken+=("$name was not started: someone else listens on port $(port_of "$name"); choose another with --$name-port")
    else
      launch "$name" "$program"
      started+=("$name")
    fi
  done
  local failed=0
  wait_ready "${started[@]}" || failed=1
  show
  printf '%s\n' "${missing[@]}" "${taken[@]}" | sed '/^$/d' >&2
  pid_of prometheus >/dev/null || failed=1
  return "$failed"
}

# Whether each of these answers; says of each that does not what it said last.
wait_ready() {
  local name deadline=$((SECONDS + ready_s_max)) failed=0
  for name in "$@"; do
    [[ $name != promtail ]] || continue
    while pid_of "$name" >/dev/null && is_free "$(port_of "$name")" && ((SECONDS < deadline)); do sleep 0.1; done
    if ! pid_of "$name" >/dev/null || is_free "$(port_of "$name")"; then
      echo "start-monitoring.sh: $name does not answer. The end of $state/logs/$name.log:" >&2
      tail -n 10 "$state/logs/$name.log" >&2 || true
      failed=1
    fi
  done
  return "$failed"
}

stop_all() {
  local name pid deadline=$((SECONDS + stop_s_max))
  local -A pids=()
  for name in "${programs[@]}"; do
    if pid=$(pid_of "$name"); then
      pids[$name]=$pid
      kill -TERM "$pid" 2>/dev/null || true
    fi
  done
  for name in "${!pids[@]}"; do
    pid=${pids[$name]}
    while is_ours "$pid" && ((SECONDS < deadline)); do sleep 0.05; done
    if is_ours "$pid"; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -f "$state/run/$name.pid"
    echo "$name is stopped"
  done
}

show() {
  local name pid where
  for name in "${programs[@]}"; do
    if pid=$(pid_of "$name"); then
      where=$(port_of "$name")
      printf '%-12s runs (pid %s)%s\n' "$name" "$pid" "${where:+, http://$address:$where}"
    else
      printf '%-12s down\n' "$name"
    fi
  done
}

# ---- commands ----------------------------------------------------------------------------------------------------------

up() {
  make_state
  if docker_answers; then
    compose up --detach --quiet-pull || fail "docker compose did not start everything"
    echo "Prometheus http://$address:$prometheus_port, Grafana http://$address:$grafana_port (admin/admin), Loki http://$address:$loki_port"
  else
    echo "Docker does not answer here; using the programs of this machine"
    start_all
  fi
}

main() {
  parse_options "$@"
  [[ $command != help ]] || { usage; exit 0; }
  state=$(realpath -m -- "$given_state")
  tools=${CARGO_TARGET_DIR:-$root/target}/test-tools/bin
  read_settings
  read_cluster
  export_settings
  case $command in
    up) up ;;
    stop)
      stop_all
      if docker_answers; then compose down; fi
      ;;
    status)
      show
      if docker_answers; then compose ps; fi
      ;;
    *) fail "unknown command $command; \`./start-monitoring.sh help\` lists them" ;;
  esac
}

main "$@"
