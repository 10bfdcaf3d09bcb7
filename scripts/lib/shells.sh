# shellcheck shell=bash
# Shells other than bash, whose completion is tested. Sourced by bootstrap.sh.

ensure_shells() {
    local name absent=()
    for name in zsh fish; do
        have "$name" || absent+=("$name")
    done
    [ ${#absent[@]} != 0 ] || return 0
    may_install || die 3 "not found: ${absent[*]}; install them"
    install_packages "shells for tests" "${absent[@]}"
}
