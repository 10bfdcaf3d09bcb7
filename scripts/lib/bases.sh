# shellcheck shell=bash
# Base images: from a registry, copies of its images, or placeholders. Sourced by bootstrap.sh.

# The answer is cached for a day: a check takes a second if a registry answers, longer if not.
bases_chosen() {
    case ${BUILDLIB_BASES:-auto} in
        registry | stand-ins) printf '%s\n' "$BUILDLIB_BASES" ;;
        auto | layouts) [ -z "$(find "$cache/bases" -mmin -1440 2>/dev/null)" ] || cat "$cache/bases" ;;
        *) die 2 "BUILDLIB_BASES is auto, registry, layouts or stand-ins, not $BUILDLIB_BASES" ;;
    esac
}

# Messages of a registry that was reached, and of credential helpers; buildx has no exit code for them.
# Not the answers of a proxy: 403, 404, 407, bad gateway. A registry does not use these for a public
# image.
refusal='401 Unauthorized|unauthorized:|access denied|denied: |429 Too Many|toomanyrequests|getting credentials'

default_of() { sed -n "s/^ARG $1=//p" "$root/Dockerfile"; }

ask_registry() {
    local base output reason answer=registry
    base=alpine:$(default_of ALPINE_VERSION)
    mkdir -p "$cache"
    if ! output=$(bounded 15 docker buildx imagetools inspect "$base" 2>&1 >/dev/null); then
        if reason=$(printf '%s\n' "$output" | grep -E -m 1 "$refusal"); then
            # Use the registry all the same: builds then show its own message.
            say "the image registry refuses: $reason"
            say "fix that (docker login, or retry later); BUILDLIB_BASES=stand-ins builds without it"
        else
            answer=stand-ins
        fi
    fi
    printf '%s\n' "$answer" | tee "$cache/bases"
}

# Named after its inputs: checkouts with different base images have different maps.
stand_ins_map() {
    local key
    key=$(cat "$root/Dockerfile" "$root/scripts/standins.py" "$root/requirements/go.txt" | cksum)
    printf '%s\n' "$cache/stand-ins/map-${key% *}"
}

# Checked without starting Python.
stand_ins_made() {
    local map_of
    map_of=$(stand_ins_map)
    [ -r "$map_of" ] && [ -r "$(cat "$map_of")" ]
}

make_stand_ins() {
    local map_of uv=$venv/bin/uv
    map_of=$(stand_ins_map)
    [ -x "$uv" ] || uv=uv
    uv_like_pip "$(find_python || echo python3)"
    mkdir -p "$cache/stand-ins"
    "$venv/bin/python" "$root/scripts/standins.py" --cache "$cache" --uv "$uv" \
        --dockerfile "$root/Dockerfile" --requirements "$root/requirements/go.txt" \
        >"$map_of.new" || { rm -f "$map_of.new"; return 1; }
    mv "$map_of.new" "$map_of"
    say "no image registry is reachable: made placeholder base images"
}

layouts_map() {
    local key
    key=$(cksum <"$root/Dockerfile")
    printf '%s\n' "$cache/layouts/map-${key% *}"
}

# The registry's images as OCI layouts, for an engine without a network.
make_layouts() {
    local folder base layout
    mkdir -p "$cache/layouts"
    folder=$(mktemp -d "$cache/layouts/XXXXXX")
    echo '[base-images]' >"$folder/map.toml"
    for base in "alpine:$(default_of ALPINE_VERSION)" "golang:$(default_of GO_VERSION)-alpine"; do
        layout=$folder/${base%%:*}
        printf 'FROM %s\n' "$base" | docker buildx build --quiet --provenance=false \
            --platform linux/amd64,linux/arm64 --output "type=oci,tar=false,dest=$layout" - >&2 ||
            { rm -rf "$folder"; return 1; }
        printf '"%s" = "oci-layout://%s@%s"\n' "$base" "$layout" \
            "$(grep -o 'sha256:[0-9a-f]*' "$layout/index.json" | head -n 1)" >>"$folder/map.toml"
    done
    printf '%s\n' "$folder/map.toml" >"$(layouts_map).new"
    mv "$(layouts_map).new" "$(layouts_map)"
    say "copied the base images to $folder"
}

use_layouts() {
    [ -r "$(layouts_map)" ] || make_layouts || die 4 "the base images can't be copied"
    BUILDLIB_BASE_IMAGES=$(cat "$(layouts_map)")
    export BUILDLIB_BASE_IMAGES
}

ensure_bases() {
    local answer
    [ -z "${BUILDLIB_BASE_IMAGES:-}" ] || return 0
    answer=$(bases_chosen)
    [ -n "$answer" ] || answer=$(ask_registry)
    if [ "$answer" = registry ]; then
        [ "${BUILDLIB_BASES:-auto}" != layouts ] || use_layouts
        return
    fi
    stand_ins_made || make_stand_ins || die 3 "no image registry is reachable, and placeholders can't be" \
        "made here; name a mirror in BUILDLIB_BASE_IMAGES, or give BUILDLIB_BASES=registry"
    BUILDLIB_BASE_IMAGES=$(cat "$(stand_ins_map)")
    export BUILDLIB_BASE_IMAGES
}
