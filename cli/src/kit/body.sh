
say() { printf '%s\n' "$*" >&2; }

use_store() {
    if [ -s "$work/ca.pem" ]; then
        snap set system store-certs.airlock="$(cat "$work/ca.pem")"
        for number in 2 3; do
            [ ! -s "$work/ca-$number.pem" ] || snap set system "store-certs.airlock-$number=$(cat "$work/ca-$number.pem")"
        done
        if [ -n "$(snap get system proxy.https 2>/dev/null || true)" ]; then
            say "warning: proxy.https is set. snapd ignores store-certs behind a proxy:" \
                "add the certificate to the system's authorities, or take the proxy away."
        fi
    fi
    if [ -s "$work/store.assert" ]; then
        snap ack "$work/store.assert"
        snap set system proxy.store="$store_id"
    else
        mkdir -p "$units"
        printf '[Service]\nEnvironment="SNAPPY_FORCE_API_URL=%s"\n' "$url" > "$units/airlock.conf"
        systemctl daemon-reload
        systemctl restart snapd.service
    fi
    if [ "$(snap get system store.access 2>/dev/null || true)" = offline ]; then
        say "warning: store.access is offline, so snapd asks no store: snap unset system store.access"
    fi
    check
}

check() {
    # Whatever a search finds, it takes the whole way: name, connection, certificate, session. `snap debug connectivity` asks
    # for the snap core, which this store need not have.
    if snap find snapd > /dev/null; then
        say "This device uses $url."
    else
        say "error: this device cannot reach $url; what it said is above."
        exit 1
    fi
}

undo() {
    snap set system proxy.store=
    snap unset system store-certs.airlock store-certs.airlock-2 store-certs.airlock-3
    if [ -e "$units/airlock.conf" ]; then
        rm -f "$units/airlock.conf"
        systemctl daemon-reload
        systemctl restart snapd.service
    fi
    say "This device uses the public store again."
}

command -v snap > /dev/null || { say "error: there is no snapd on this device"; exit 1; }
case "${1:-}" in
    '') use_store ;;
    --check) check ;;
    --undo) undo ;;
    *) say "usage: sh device-kit.sh [--check | --undo]"; exit 2 ;;
esac
