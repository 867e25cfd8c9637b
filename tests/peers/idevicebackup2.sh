#!/usr/bin/env bash
# Proves that libimobiledevice's tools believe the virtual iPhone: they find it, pair with it, back it up, set its backup password
# and restore it. iphone-backup-decrypt, if Python has it (RUSSET_PYTHON), opens what came of it.
#
# Usage: idevicebackup2.sh PATH-OF-VIRTUAL-IPHONE
set -euo pipefail

binary=${1:?usage: idevicebackup2.sh PATH-OF-VIRTUAL-IPHONE}
python=${RUSSET_PYTHON:-python3}
for tool in idevice_id idevicepair ideviceinfo idevicebackup2; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is not installed, so nothing was proved"
        exit 77
    fi
done

work=$(mktemp -d)
phone=
cleanup() {
    [ -z "$phone" ] || kill "$phone" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    [ ! -f "$work/log" ] || tail -n 5 "$work/log" | tr '\b\r' '\n\n' | tail -n 15 >&2
    echo "the phone: $(tell complaints || true)" >&2
    exit 1
}

proved() { echo "proved: $*"; }

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

start() {
    coproc PHONE { exec "$binary" --usbmuxd "$work/usbmuxd" --state "$work/state" "$@" 2>"$work/phone.log"; }
    phone=$PHONE_PID
    exec {to_phone}>&"${PHONE[1]}" {from_phone}<&"${PHONE[0]}"
    local line
    IFS= read -r -t 60 line <&"$from_phone" || { cat "$work/phone.log" >&2; echo "FAILED: the phone does not start" >&2; exit 1; }
    udid=$(awk '{ print $2 }' <<<"$line")
}

stop() {
    tell quit >/dev/null
    wait "$phone" || fail "the phone did not end well"
    phone=
    exec {to_phone}>&- {from_phone}<&-
}

# Runs a tool and keeps what it says.
run() { "$@" >"$work/log" 2>&1 </dev/null; }

backup_of() { echo "$work/$1/$udid"; }
received() { tr '\b\r' '\n\n' <"$work/log" | sed -n 's/^Received \([0-9]*\) files.*/\1/p' | tail -n 1; }
finished() { grep -aq finished "$(backup_of "$1")/Status.plist"; }

# Every file that the phone has is in this plain backup, at its place and of its size.
holds_all() {
    local folder kind hash size modified whose domain path id there
    folder=$(backup_of "$1")
    tell truth "$work/truth" >/dev/null
    while IFS=$'\t' read -r kind hash size modified whose domain path; do
        [ "$kind" = file ] && [ "$whose" = all ] || continue
        id=$(printf '%s' "$domain-$path" | sha1sum | cut -c1-40)
        there=$(stat -c %s "$folder/${id:0:2}/$id" 2>/dev/null) || fail "$domain $path is not in the backup"
        [ "$there" = "$size" ] || fail "$domain $path has $there bytes and not $size"
    done <"$work/truth"
}

export HOME="$work/home" USBMUXD_SOCKET_ADDRESS="UNIX:$work/usbmuxd"
mkdir -p "$HOME" "$work/plain" "$work/sealed"
start

[ "$(idevice_id -l)" = "$udid" ] || fail "idevice_id does not list the phone"
proved "idevice_id lists the phone"

tell trust ignore >/dev/null
! run idevicepair pair || fail "an unanswered dialog counted as trust"
grep -q -i 'accept the trust dialog' "$work/log" || fail "idevicepair does not know that the dialog is up"
tell trust deny:0s >/dev/null
! run idevicepair pair || fail "a denial counted as trust"
grep -q -i 'denied' "$work/log" || fail "idevicepair does not know that the owner denied"
tell trust accept:0s >/dev/null
tell lock >/dev/null
! run idevicepair pair || fail "a locked phone paired"
grep -q -i 'passcode' "$work/log" || fail "idevicepair does not know that the phone is locked"
tell unlock >/dev/null
run idevicepair pair || fail "idevicepair pair"
run idevicepair validate || fail "idevicepair validate"
proved "idevicepair waits for the dialog, is denied, is kept out by the lock screen, pairs, and validates"

[ "$(ideviceinfo -k UniqueDeviceID)" = "$udid" ] || fail "ideviceinfo does not tell the id"
[ "$(ideviceinfo -q com.apple.mobile.battery -k BatteryCurrentCapacity)" = 80 ] || fail "ideviceinfo does not tell the charge"
proved "ideviceinfo reads values in a session, over TLS with the certificates of OpenSSL"

tell forget >/dev/null
! ideviceinfo -k SerialNumber >"$work/log" 2>&1 || ! grep -q . "$work/log" || fail "a forgotten host is still trusted"
run idevicepair pair || fail "idevicepair pair after the phone forgot everything"
proved "a phone that forgot its hosts is paired with again"

run idevicebackup2 backup --full "$work/plain" || fail "a full backup"
finished plain || fail "the full backup is not finished"
full=$(received)
holds_all plain
proved "a full backup of $full files, all of them of their size"

run idevicebackup2 backup "$work/plain" || fail "a backup of an unchanged phone"
unchanged=$(received)
tell day >/dev/null
run idevicebackup2 backup "$work/plain" || fail "an incremental backup"
finished plain || fail "the incremental backup is not finished"
changed=$(received)
[ "$unchanged" -lt "$changed" ] && [ "$changed" -lt "$full" ] || fail "files sent: $full, $unchanged unchanged, $changed after a day"
holds_all plain
proved "an incremental backup sends $unchanged files if nothing changed, and $changed after a day"

tell day >/dev/null
tell faults pull-at-message=20 >/dev/null
! run idevicebackup2 backup "$work/plain" || fail "a backup over a pulled cable succeeded"
[ -z "$(idevice_id -l 2>/dev/null)" ] || fail "a pulled phone is still listed"
tell faults none >/dev/null
tell plug >/dev/null
run idevicebackup2 backup "$work/plain" || fail "a backup after the cable was pulled"
finished plain || fail "the backup after the pulled cable is not finished"
holds_all plain
proved "the cable can be pulled in the middle, and the next backup is whole"

tell passcode cancel:0s >/dev/null
! run idevicebackup2 backup "$work/plain" || fail "a backup succeeded without the passcode"
tell passcode enter:1s >/dev/null
run idevicebackup2 backup "$work/plain" || fail "a backup with the passcode"
# Version 1.3.0 does not wait for the notice that the passcode is asked for.
if grep -aq LocalAuthentication "$(command -v idevicebackup2)"; then
    grep -aq -i passcode "$work/log" || fail "idevicebackup2 was not told that the passcode is asked for"
fi
tell passcode none >/dev/null
proved "the passcode is asked for; cancelling it ends the backup"

tell faults stall-at-message=20:2s >/dev/null
run idevicebackup2 backup "$work/plain" &
tool=$!
until [ "$(tell messages)" -ge 20 ]; do
    kill -0 "$tool" 2>/dev/null || fail "the backup ended before it could be cancelled"
    sleep 0.1
done
tell cancel >/dev/null
! wait "$tool" || fail "a cancelled backup succeeded"
grep -aq 'MBErrorDomain/202' "$work/log" || fail "idevicebackup2 was not told of the cancellation"
tell faults none >/dev/null
proved "the owner cancels a backup at the phone"

tell lock >/dev/null
run idevicebackup2 backup "$work/plain" || fail "a backup of a locked phone with the escrow bag"
tell unlock >/dev/null
proved "a locked phone is backed up by a host that it knows"

run idevicebackup2 encryption on first "$work/sealed" || fail "encryption on"
[ "$(tell password)" = first ] || fail "the phone did not take the password"
[ "$(ideviceinfo -q com.apple.mobile.backup -k WillEncrypt)" = true ] || fail "WillEncrypt is not true"
proved "idevicebackup2 sets a backup password"

run idevicebackup2 backup --full "$work/sealed" || fail "an encrypted backup"
sealed=$(received)
[ "$sealed" -ge "$full" ] || fail "the encrypted backup has fewer files"
! run idevicebackup2 changepw wrong second "$work/sealed" || fail "a wrong password was taken for the right one"
run idevicebackup2 changepw first second "$work/sealed" || fail "changepw"
[ "$(tell password)" = second ] || fail "the phone did not take the new password"
proved "an encrypted backup of $sealed files; the wrong password is refused, the right one changed"

run idevicebackup2 backup "$work/sealed" || fail "an encrypted backup after the password changed"
finished sealed || fail "the encrypted backup is not finished"

# The plain backup is of the same day, so that its files are what the encrypted ones must decrypt to.
if "$python" -c 'import iphone_backup_decrypt' 2>/dev/null; then
    "$python" - "$(backup_of sealed)" "$(backup_of plain)" second <<'PYTHON' || fail "iphone-backup-decrypt"
import pathlib, sys
from iphone_backup_decrypt import EncryptedBackup
sealed, plain, password = sys.argv[1:]
backup = EncryptedBackup(backup_directory=sealed, passphrase=password)
backup.test_decryption()
with backup.manifest_db_cursor() as cursor:
    rows = cursor.execute("SELECT fileID, domain, relativePath, file FROM Files WHERE flags = 1").fetchall()
same = more = 0
for file_id, domain, path, record in rows:
    contents = backup._decrypt_inner_file(file_id=file_id, file_bplist=record) or b""
    twin = pathlib.Path(plain, file_id[:2], file_id)
    if not twin.exists():
        more += 1
    elif twin.read_bytes() == contents:
        same += 1
    else:
        sys.exit(f"{domain} {path} decrypts to something else")
assert same > 50 and more > 0, (same, more)
try:
    EncryptedBackup(backup_directory=sealed, passphrase="first").test_decryption()
except ValueError:
    pass
else:
    sys.exit("the old password opens the backup")
print(f"proved: iphone-backup-decrypt opens it: {same} files equal the plain ones, {more} are in encrypted backups only")
PYTHON
else
    echo "skipped: $python has no iphone-backup-decrypt"
fi

tell truth "$work/before" >/dev/null
tell day >/dev/null
tell truth "$work/after" >/dev/null
! cmp -s "$work/before" "$work/after" || fail "a day changed nothing"
! run idevicebackup2 restore --system --settings --remove --password wrong "$work/sealed" || fail "a wrong password restored"
run idevicebackup2 restore --system --settings --remove --password second "$work/sealed" || fail "restore"
tell truth "$work/restored" >/dev/null
diff <(grep ^file "$work/before" | cut -f 2,3,6,7) <(grep ^file "$work/restored" | cut -f 2,3,6,7) >"$work/log" || fail "the phone is not what it was"
tell media /iTunesRestore/RestoreApplications.plist "$work/apps" >/dev/null || fail "the apps to install again are not on the phone"
grep -aq org.example.tides "$work/apps" || fail "the apps to install again are not named"
proved "a restore gives the phone of the day before back, file by file, and the list of its apps"

posted=" $(tell posted) "
for name in syncWillStart syncLockRequest syncDidStart syncDidFinish; do
    [[ $posted == *"com.apple.itunes-mobdev.$name "* ]] || fail "$name was not posted"
done
proved "the notices around a backup arrive"

stop
start
[ "$(tell password)" = second ] || fail "the phone forgot its password"
run idevicepair validate || fail "the phone forgot its host"
run idevicebackup2 encryption off second "$work/sealed" || fail "encryption off"
[ -z "$(tell password)" ] || fail "the password is still set"
stop
proved "trust and password outlive a restart of the program; encryption is turned off"
