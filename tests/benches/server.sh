# The server that `run` measures. Sourced; defines one function.

# Starts proxyd with a store of one large snap and one device. Sets SERVER and SECURE (the addresses of HTTP and HTTPS) and
# SERVER_PID, and writes to $WORK: blob (256 MiB), cert.pem, key.pem, download.http, refresh.http, info.http, and session.http with $SESSIONS requests for each of $ROUNDS
# rounds, since each nonce buys one session.
server_up() {
    echo "making a store, a device and $((SESSIONS * ROUNDS)) session requests ..." >&2
    mkfifo "$WORK/stop"
    "$BIN/bench_store" "$WORK" "$((SESSIONS * ROUNDS))" <"$WORK/stop" >"$WORK/server" &
    PIDS+=("$!")
    exec 9>"$WORK/stop"
    until [ -s "$WORK/server" ]; do
        kill -0 "${PIDS[-1]}" || return 1
        sleep 0.1
    done
    read -r SERVER SECURE SERVER_PID <"$WORK/server"
}
