#!/usr/bin/env bash
# The arm64 check, `make test-arm64`: a Debian 12 arm64 system run by qemu-user, the project installed there as on a
# Raspberry Pi, and its agent asked from this host: the contract of every device, then a measurement.
#
#   tests/support/arm64.sh [--or-skip] [PYTHON]
#
# PYTHON has thrones[search,dev] (default: .venv/bin/python). Where a tool is missing this ends with code 2; with
# --or-skip, for CI, it says so and succeeds. The system stays in $ARM64 (default: build/arm64), which makes the next
# run quick; delete that folder to start anew. $MIRROR names another Debian mirror than debootstrap's own.
set -euo pipefail
arguments=("$@")
skip=false
if [ "${1:-}" = --or-skip ]; then
  skip=true
  shift
fi
here=$(realpath "$(dirname "$0")/../..")
python=$(realpath --no-symlinks "${1:-$here/.venv/bin/python}")
system=$(realpath -m "${ARM64:-$here/build/arm64}")
binfmt=/proc/sys/fs/binfmt_misc

say() {
  echo "arm64: $* (after $SECONDS s)"
}

lacking() {
  if $skip; then
    echo "arm64: skipped: $*"
    exit 0
  fi
  echo "arm64: $*" >&2
  exit 2
}

packages="apt-get install debootstrap qemu-user-static binfmt-support"
[ "$(uname -m)" != aarch64 ] || lacking "this is an arm64 machine: make test checks it"
[ "$(id -u)" = 0 ] || lacking "only root may make and enter a system: sudo make test-arm64"
for tool in debootstrap unshare; do
  command -v "$tool" > /dev/null || lacking "no $tool here: $packages"
done

# In namespaces of its own: however this ends, the mounts and the agent go with it.
if [ -z "${ARM64_INSIDE:-}" ]; then
  ARM64_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "${arguments[@]}"
fi

# Mounted and registered at boot where systemd runs; in a container nobody has done it.
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt ||
  lacking "this kernel does not let binfmt_misc be mounted, which runs arm64 programs by qemu"
[ -e $binfmt/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64 2> /dev/null || true
# F: the kernel keeps qemu open, so that it is found inside the system, too.
grep -qs '^flags:.*F' $binfmt/qemu-aarch64 || lacking "qemu does not run arm64 programs here: $packages"

inside() {
  # A Raspberry Pi 4's processor: what newer ones can do in addition, XNNPACK must not need.
  chroot "$system" env -u PYTHONPATH -u PIP_FIND_LINKS QEMU_CPU=cortex-a72 HOME=/root TMPDIR=/tmp \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

if [ ! -e "$system/complete" ]; then
  say "making a Debian 12 arm64 system in $system; this takes some minutes"
  rm -rf "$system"
  mkdir -p "$system"
  debootstrap --arch=arm64 --variant=minbase --include=ca-certificates,python3-venv bookworm "$system" ${MIRROR:-} \
    > "$system.log" || { tail -n 20 "$system.log" "$system/debootstrap/debootstrap.log" >&2; exit 1; }
  touch "$system/complete"
fi
mount -t proc proc "$system/proc"
# qemu shows this host's processor, at which the runtime crashes, or without /sys does without XNNPACK.
mkdir -p "$system/sys/devices/system/cpu"
echo 0-3 | tee "$system/sys/devices/system/cpu/possible" > "$system/sys/devices/system/cpu/present"
{
  for core in 0 1 2 3; do
    printf '%s\t: %s\n' processor $core Features 'fp asimd evtstrm crc32 cpuid' 'CPU implementer' 0x41 \
      'CPU architecture' 8 'CPU variant' 0x0 'CPU part' 0xd08 'CPU revision' 3
    echo
  done
  printf 'Model\t: Cortex-A72, emulated\n'
} > "$system/root/cpuinfo"
mount --bind "$system/root/cpuinfo" "$system/proc/cpuinfo"
# The ways out are this host's: name servers, and who signs for a proxy.
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e $file ] || cp -L $file "$system$file"
done

say "installing the project: pip install ."
rm -rf "$system/root/thrones"
mkdir "$system/root/thrones"
tar -C "$here" -c --exclude=__pycache__ LICENSE README.md pyproject.toml compress edge search |
  tar -C "$system/root/thrones" -x --no-same-owner
[ -e "$system/root/venv/bin/pip" ] || inside python3 -m venv /root/venv
inside sh -c 'cd /root/thrones && /root/venv/bin/pip install --quiet --disable-pip-version-check .'

say "starting the agent"
exec {output}< <(inside /root/venv/bin/python -m edge serve --port 0 < /dev/null)
read -r -u "$output" greeting || { echo "arm64: the agent did not start" >&2; exit 1; }
say "$greeting"
url=rpyc://127.0.0.1:${greeting##* }

say "the contract of every device, asked of $url"
cd "$here"
"$python" -m pytest tests/edge/test_device_url.py --device "$url"

say "measuring two models there; an emulator's figures prove that it works and say nothing of a Raspberry Pi"
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
"$python" -W ignore tests/support/arm64_models.py "$models"
"$python" -m search measure "$models"/*.tflite --device "$url" --plan search
say "all well"
