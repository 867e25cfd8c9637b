#!/usr/bin/env bash
# Proves that names which only differ in case, or in how an accent is written, come out side by side on a disk that cannot tell them apart.
# The disk is an ext4 that folds case, in a small guest, because few kernels at hand have one. The test itself is vfs's `tests/target.rs`.
#
# Usage: case-blind-in-vm.sh FOLDER-OF-BUILT-BINARIES   (with deps/target-*, which `cargo test` leaves there)
# RUSSET_RIG is a folder with `vmrun`, which runs a command as root in such a guest, with the image DISK as /dev/vda.
set -euo pipefail

binaries=${1:?usage: case-blind-in-vm.sh FOLDER-OF-BUILT-BINARIES}
command -v mkfs.ext4 >/dev/null || { echo "mkfs.ext4 is not installed, so nothing was proved"; exit 77; }
[ -n "${RUSSET_RIG:-}" ] && [ -x "$RUSSET_RIG/vmrun" ] || { echo "RUSSET_RIG does not name a guest, so nothing was proved"; exit 77; }
tests=$(find "$binaries/deps" -name 'target-*' -type f -perm -u+x -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
[ -n "$tests" ] || { echo "the tests of vfs are not built, so nothing was proved"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
truncate -s 40M "$work/disk"
mkfs.ext4 -q -O casefold -E encoding=utf8 "$work/disk"
inside="mkdir /tmp/blind && mount /dev/vda /tmp/blind && mkdir /tmp/blind/out && chattr +F /tmp/blind/out &&
    RUSSET_CASE_BLIND=/tmp/blind/out '$(realpath "$tests")' --nocapture blind"
DISK="$work/disk" LIMIT=${LIMIT:-120} "$RUSSET_RIG/vmrun" "$inside" >"$work/console" 2>&1 || {
    tail -n 30 "$work/console"
    echo "FAILED: the test failed in the guest"
    exit 1
}
grep -a -q '1 passed' "$work/console" && ! grep -a -q skipped "$work/console" || { echo "FAILED: the test was not run"; exit 1; }
echo "proved: names that clash on a disk that is blind to case are told apart, and every content is there"
