# The server that the benchmarks measure, and its peers. Sourced; each is started once and ends with the run.

PEER=127.0.0.1:18080
NGINX=127.0.0.1:18082
NGINX_SECURE=127.0.0.1:18083
STORE=$WORK/store

# Waits until something listens at the address.
reachable() {
    local i
    for ((i = 0; i < 500; i++)); do
        (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null && return
        sleep 0.02
    done
    echo "cannot reach the server at $1" >&2
    return 1
}

# bench_store PROGRAM FOLDER SESSIONS: starts a store. Sets SERVER and SECURE, the addresses of HTTP and HTTPS, and SERVER_PID.
bench_store() {
    echo "making a store of $SNAPS snaps and requests ..." >&2
    mkdir -p "$2"
    mkfifo "$2/stop"
    "$1" "$2" "$3" "$SNAPS" <"$2/stop" >"$2/server" &
    PIDS+=("$!")
    # It serves until its input ends, which is with this shell.
    exec {HELD}>"$2/stop"
    until [ -s "$2/server" ]; do
        kill -0 "${PIDS[-1]}" || return 1
        sleep 0.1
    done
    read -r SERVER SECURE SERVER_PID <"$2/server"
    PIDS+=("$SERVER_PID")
}

store_up() {
    [ -z "${STORE_IS_UP:-}" ] || { read -r SERVER SECURE SERVER_PID <"$STORE/server" && return; }
    bench_store "$BIN/bench_store" "$STORE" "$((SESSIONS * ROUNDS))"
    STORE_IS_UP=1
}

# The same store with a server whose instructions can be counted.
counted_up() {
    command -v valgrind >/dev/null || { echo 'valgrind is missing: apt-get install valgrind' >&2; exit 1; }
    local bin=$WORK/bin
    mkdir -p "$bin"
    # It starts the programs that lie beside it.
    cp "$BIN/bench_store" "$BIN/proxy" "$bin"
    printf '#!/bin/sh\nexec valgrind -q --tool=callgrind --instr-atstart=no --callgrind-out-file=%q %q "$@"\n' \
        "$WORK/callgrind" "$(realpath "$BIN/proxyd")" >"$bin/proxyd"
    chmod +x "$bin/proxyd"
    STORE=$WORK/counted
    bench_store "$bin/bench_store" "$STORE" 200
}

# counted ADDRESS PID FILE COUNT [OPTION...]: instructions per request.
counted() {
    local send=("$BIN/load" --server "$1" --pid "$2" --requests "$3" --connections 2 --warm-up 0)
    # What is made once is there by then.
    "${send[@]}" --count 40 "${@:5}" >"$WORK/warm"
    callgrind_control -i on "$2" >"$WORK/control"
    callgrind_control -z "$2" >"$WORK/control"
    "${send[@]}" --count "$4" "${@:5}" ${5:+--skip 40} >"$WORK/counted.load"
    callgrind_control -i off "$2" >"$WORK/control"
    rm -f "$WORK"/callgrind*
    callgrind_control -d "$2" >"$WORK/control"
    local i
    for ((i = 0; i < 500; i++)); do
        ! grep -hq '^totals:' "$WORK"/callgrind* 2>/dev/null || break
        sleep 0.02
    done
    grep -h '^totals:' "$WORK"/callgrind* | awk -v count="$4" '{ n += $2 } END { printf "%.0f", n / count }'
}

constant_up() {
    [ -z "${PEER_PID:-}" ] || return 0
    "$BIN/examples/constant" "$PEER" &
    PEER_PID=$!
    PIDS+=("$PEER_PID")
    reachable "$PEER"
}

nginx_up() {
    [ -z "${NGINX_PID:-}" ] || return 0
    command -v nginx >/dev/null || PATH=$PATH:/usr/sbin
    command -v nginx >/dev/null || { echo 'nginx is missing: apt-get install nginx-light' >&2; exit 1; }
    local user=
    [ "$(id -u)" != 0 ] || user='user root;'
    cat >"$WORK/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $WORK/nginx.pid;
error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path $WORK/body;
    proxy_temp_path $WORK/proxy;
    fastcgi_temp_path $WORK/fastcgi;
    uwsgi_temp_path $WORK/uwsgi;
    scgi_temp_path $WORK/scgi;
    server { listen $NGINX; root $STORE; }
    server {
        listen $NGINX_SECURE ssl;
        root $STORE;
        ssl_certificate $STORE/cert.pem;
        ssl_certificate_key $STORE/key.pem;
        ssl_protocols TLSv1.3;
        location = /handshake { return 204; }
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    }
}
CONF
    nginx -e stderr -c "$WORK/nginx.conf" &
    NGINX_PID=$!
    PIDS+=("$NGINX_PID")
    reachable "$NGINX"
    reachable "$NGINX_SECURE"
}
