#!/usr/bin/env bash
# enter.sh FOLDER COMMAND [ARGUMENT…]: runs COMMAND in FOLDER/root, as on an aarch64 machine.
#
# The emulator is registered in a user namespace's own binfmt_misc (Linux 6.7), so that this machine stays as it is;
# by F the kernel keeps it open, so that it need not be in the root. Everything that COMMAND starts is emulated, too.
set -euo pipefail
export FOLDER=$1
shift
exec unshare --user --map-root-user --mount /usr/bin/env bash -euo pipefail -c '
  fail() { echo "enter.sh: $1" >&2; exit 69; }
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    fail "this kernel has no binfmt_misc for user namespaces; Linux 6.7 and later do"
  # The first 20 bytes of an ELF file: 64 bits, little endian, executable or shared object, EM_AARCH64 (183).
  elf="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
  mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
  printf ":aarch64:M::%s:%s:%s:F" "$elf" "$mask" "$FOLDER/qemu-aarch64-static" \
    > /proc/sys/fs/binfmt_misc/register || fail "the emulator cannot be registered"
  for place in proc sys dev; do mount --rbind "/$place" "$FOLDER/root/$place"; done
  mount --bind "$FOLDER/cpuinfo" "$FOLDER/root/proc/cpuinfo"
  exec env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 QEMU_CPU="$(cat "$FOLDER/cpu")" \
    /usr/sbin/chroot "$FOLDER/root" "$@"
' enter.sh "$@"
