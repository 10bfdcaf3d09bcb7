# shellcheck shell=bash
# Emulation of the other platform. Sourced by bootstrap.sh.

other_machine() { case $(uname -m) in x86_64) echo aarch64 ;; *) echo x86_64 ;; esac; }
binfmt=/proc/sys/fs/binfmt_misc

# An engine in a VM or on another machine has its own emulation, or none.
emulation_concerns_us() { [ "$(uname -s)" = Linux ] && [ -z "$(chosen_endpoint)" ]; }
emulation_ready() { [ -e "$binfmt/qemu-$(other_machine)" ]; }

register_emulation() {
    local machine=$1 number=$2
    local magic="\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00"
    local mask="\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff"
    # F: the kernel opens the emulator now, so that it works inside any container. P: the program
    # keeps its own argv[0], which BusyBox needs (Linux 5.12, QEMU 6.0).
    printf '%s' ":qemu-$machine:M::$magic\\x$number\\x00:$mask\\xff\\xff:/usr/bin/qemu-$machine-static:PF" |
        as_root tee "$binfmt/register" >/dev/null 2>&1
}

ensure_emulation() {
    local machine
    ! emulation_ready && emulation_concerns_us || return 0
    machine=$(other_machine)
    if ! may_install; then
        say "no emulation of $machine; docker run --privileged --rm tonistiigi/binfmt --install all"
        return
    fi
    [ -e "$binfmt/register" ] || as_root mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null ||
        true
    ! emulation_ready || return 0
    [ -x "/usr/bin/qemu-$machine-static" ] || install_packages emulation qemu-user-static
    # With systemd the package registers it by itself.
    ! emulation_ready || return 0
    case $machine in
        aarch64) register_emulation aarch64 b7 ;;
        x86_64) register_emulation x86_64 3e ;;
    esac || { say "this kernel does not support emulation; only $(uname -m) will run"; return 0; }
    say "registered emulation of $machine"
}
