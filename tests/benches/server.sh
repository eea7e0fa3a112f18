# The server that `run` measures. Sourced; defines one function.

# Starts the server; this one is a stand-in. Sets SERVER (address), SERVER_PID, BLOB_PATH (where $WORK/blob, 256 MiB, is
# to be had in full) and, for each of refresh, info and session, writes $WORK/NAME.http: raw
# requests that are answered 200. Each of those for session is sent once, so there are $SESSIONS
# for each of $ROUNDS rounds.
server_up() {
    SERVER=127.0.0.1:18081
    BLOB_PATH=/blob
    "$BIN/examples/constant" "$SERVER" "$WORK/answer.json" "$WORK/blob" &
    SERVER_PID=$!
    local body='{"context":[],"actions":[]}' i
    printf 'POST /constant HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body" >"$WORK/refresh.http"
    printf 'GET /constant HTTP/1.1\r\nHost: a\r\n\r\n' >"$WORK/info.http"
    for ((i = 0; i < SESSIONS * ROUNDS; i++)); do cat "$WORK/refresh.http"; done >"$WORK/session.http"
}
