# shellcheck shell=bash
# A browser that tests can steer. Read by bootstrap.sh.

# Under each of these names it is one of Chromium's kind; tests/browser/conftest.py has the same.
browsers=(chromium chromium-headless-shell google-chrome chromium-browser)

has_browser() {
    local name
    for name in "${browsers[@]}"; do
        ! have "$name" || return 0
    done
    return 1
}

# Ubuntu's packages of Chromium hold none: they ask snap for it, which containers don't have.
ensure_browser() {
    ! has_browser || return 0
    if ! may_install || [ "$(os_release ID)" != debian ]; then
        die 3 "no browser: install Chromium or Google Chrome, so that one of these is on PATH:" \
            "${browsers[*]}"
    fi
    apt_lists
    install_packages "a browser for tests" \
        "$(first_known chromium-headless-shell chromium)" fonts-dejavu-core
}
