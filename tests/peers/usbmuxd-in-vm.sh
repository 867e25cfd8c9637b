#!/usr/bin/env bash
# Proves that usbmuxd believes the virtual iPhone on a USB bus: it greets it, pairs with it, and libimobiledevice's tools back it up
# through it, over a cable that is pulled in the middle. Then russet's own USB side takes the phone over from usbmuxd.
# All of it happens in a small guest whose kernel has a virtual USB bus.
#
# Usage: usbmuxd-in-vm.sh FOLDER-OF-BUILT-BINARIES   (with virtual-iphone, and examples/raw_usb if that is to be tried too)
# RUSSET_RIG is a folder with `vmrun`, which runs a command as root in such a guest, on a view of this machine's files.
set -euo pipefail

fail() {
    echo "FAILED: $*"
    [ ! -f "$work/log" ] || tail -n 5 "$work/log" | tr '\b\r' '\n\n' | tail -n 15
    [ ! -f "$work/usbmuxd.log" ] || tail -n 10 "$work/usbmuxd.log"
    [ ! -f "$work/phone.log" ] || tail -n 10 "$work/phone.log"
    exit 1
}

proved() { echo "proved: $*"; }

# Runs a tool and keeps what it says.
run() { timeout 120 "$@" >"$work/log" 2>&1 </dev/null; }

# Waits until a command succeeds.
wait_for() {
    local what=$1
    shift
    for _ in $(seq 150); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    fail "never came about: $what"
}

## Outside

outside() {
    local here tool
    for tool in usbmuxd idevice_id idevicepair ideviceinfo idevicebackup2; do
        command -v "$tool" >/dev/null || { echo "$tool is not installed, so nothing was proved"; exit 77; }
    done
    [ -n "${RUSSET_RIG:-}" ] || { echo "RUSSET_RIG does not name a guest with a virtual USB bus, so nothing was proved"; exit 77; }
    [ -x "$RUSSET_RIG/vmrun" ] || { echo "$RUSSET_RIG has no vmrun, so nothing was proved"; exit 77; }
    here=$(realpath "$0")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT

    # The phone's key is made here, because the guest is slow.
    mkfifo "$work/commands"
    "$binaries/virtual-iphone" --usbmuxd "$work/socket" --state "$work/state" <"$work/commands" >/dev/null 2>"$work/phone.log" &
    exec 5>"$work/commands"
    wait_for "a phone on a socket" test -S "$work/socket"
    run env HOME="$work" USBMUXD_SOCKET_ADDRESS="UNIX:$work/socket" ideviceinfo -s -k DevicePublicKey || fail "no key"
    echo quit >&5
    exec 5>&-
    wait

    LIMIT=${LIMIT:-400} "$RUSSET_RIG/vmrun" "bash '$here' --inside '$binaries' '$work'" >"$work/console" 2>&1 || {
        tail -n 40 "$work/console"
        echo "FAILED: the guest ended with an error"
        exit 1
    }
    grep -a -o -E '(proved|skipped): .*' "$work/console" | tr -d '\r'
    grep -a -q 'proved: everything' "$work/console" || fail "the guest did not come to the end"
}

## Inside

# Gives the phone a command and prints what it answers.
tell() {
    echo "$*" >&"$to_phone"
    local answer
    IFS= read -r -t 60 answer <&"$from_phone" || { echo "the phone does not answer" >&2; return 1; }
    case $answer in
        ok*) answer=${answer#ok}; echo "${answer# }" ;;
        *) echo "the phone: $answer" >&2; return 1 ;;
    esac
}

is_on_bus() { cat /sys/bus/usb/devices/*/serial 2>/dev/null | grep -q -x "${udid/-/}"; }
is_off_bus() { ! is_on_bus; }
is_listed() { [ "$(timeout 20 idevice_id -l)" = "$udid" ]; }
is_unlisted() { [ -z "$(timeout 20 idevice_id -l)" ]; }
finished() { grep -aq finished "$work/backup/$udid/Status.plist"; }

# The guest has no udev, so usbmuxd only finds what is on the bus when it starts.
start_usbmuxd() {
    usbmuxd -f -v -U root >>"$work/usbmuxd.log" 2>&1 &
    usbmuxd=$!
    wait_for "the phone in usbmuxd's list" is_listed
}

# After a pulled cable usbmuxd 1.1.1 may wait without end for a transfer that it never got rid of.
stop_usbmuxd() {
    kill "$usbmuxd"
    for _ in $(seq 25); do
        kill -0 "$usbmuxd" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -9 "$usbmuxd"
}

# Every file that the phone has is in this plain backup, at its place and of its size.
holds_all() {
    local kind hash size modified whose domain path id file
    local -A there=()
    local -a wanted=() names=()
    tell truth "$work/truth" >/dev/null
    rm -rf "$work/names"
    mkdir "$work/names"
    # One process for all of them, because the guest is slow.
    while IFS=$'\t' read -r kind hash size modified whose domain path; do
        [ "$kind" = file ] && [ "$whose" = all ] || continue
        printf '%s' "$domain-$path" >"$work/names/${#names[@]}"
        names+=("$domain $path")
        wanted+=("$size")
    done <"$work/truth"
    [ "${#names[@]}" -gt 50 ] || fail "the phone has no files"
    find "$work/backup/$udid" -type f -printf '%f %s\n' >"$work/there"
    while read -r id size; do there[$id]=$size; done <"$work/there"
    sha1sum "$work"/names/* >"$work/ids"
    while read -r id file; do
        file=${file##*/}
        [ "${there[$id]:-}" = "${wanted[$file]}" ] || fail "${names[$file]} is not in the backup as it should be"
    done <"$work/ids"
}

inside() {
    export HOME=$work
    mkdir -p /var/lib/lockdown "$work/backup"
    coproc PHONE { exec "$binaries/virtual-iphone" --usb --state "$work/state" 2>"$work/phone.log"; }
    exec {to_phone}>&"${PHONE[1]}" {from_phone}<&"${PHONE[0]}"
    local line
    IFS= read -r -t 60 line <&"$from_phone" || fail "the phone does not start"
    udid=$(awk '{ print $2 }' <<<"$line")
    wait_for "the phone on the bus" is_on_bus

    start_usbmuxd
    grep -q "Connected to v2.0 device 1 .* with serial number $udid" "$work/usbmuxd.log" || fail "usbmuxd did not greet the phone"
    proved "usbmuxd chooses the configuration, reads the serial number, greets the phone and lists it"

    wait_for "a pairing" run idevicepair validate
    run idevicepair pair || fail "idevicepair pair"
    proved "usbmuxd pairs with the phone on its own, and idevicepair validates it"

    [ "$(timeout 60 ideviceinfo -k UniqueDeviceID)" = "$udid" ] || fail "ideviceinfo does not tell the id"
    proved "ideviceinfo reads values in a session"

    run idevicebackup2 backup --full "$work/backup" || fail "a full backup"
    finished || fail "the full backup is not finished"
    holds_all
    proved "idevicebackup2 makes a full backup, every file of it of its size"

    tell day >/dev/null
    tell faults pull-at-message=20 >/dev/null
    ! run idevicebackup2 backup "$work/backup" || fail "a backup over a pulled cable succeeded"
    wait_for "an empty bus" is_off_bus
    wait_for "an empty list" is_unlisted
    proved "a cable that is pulled in the middle ends the backup, and the phone is off the bus and off the list"

    tell faults none >/dev/null
    tell plug >/dev/null
    wait_for "the phone back on the bus" is_on_bus
    stop_usbmuxd
    start_usbmuxd
    run idevicebackup2 backup "$work/backup" || fail "a backup after the cable was pulled"
    finished || fail "the backup after the pulled cable is not finished"
    holds_all
    proved "plugged in again, the next backup is whole"

    if [ -x "$binaries/examples/raw_usb" ]; then
        timeout 20 "$binaries/examples/raw_usb" | grep -q "^$udid " || fail "russet does not see the phone that usbmuxd holds"
        ! run "$binaries/examples/raw_usb" "$udid" 62078 0 || fail "two hosts hold one phone"
        grep -q Busy "$work/log" || fail "russet does not know who holds the phone"
        stop_usbmuxd
        run "$binaries/examples/raw_usb" "$udid" 62078 0 || fail "russet cannot take the phone over"
        proved "russet sees the phone, is told that it is busy, and takes it over when usbmuxd is gone"
    else
        echo "skipped: there is no examples/raw_usb"
        stop_usbmuxd
    fi

    tell quit >/dev/null
    proved "everything"
}

case ${1:-} in
    --inside) binaries=$2 work=$3; inside ;;
    '') echo "usage: usbmuxd-in-vm.sh FOLDER-OF-BUILT-BINARIES" >&2; exit 64 ;;
    *) binaries=$(realpath "$1"); outside ;;
esac
