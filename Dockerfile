# Build stages run on the build platform and cross-compile; the runtime stage only copies.
# So a second platform needs no emulation, and nothing of the build tools is left in the image.
ARG GO_VERSION=1.27
ARG ALPINE_VERSION=3.24
# Where the program comes from: `compile` it here, or take it `prebuilt` out of a build context
# that has it at $TARGETPLATFORM/dockerutilities, as GoReleaser's does.
ARG PROGRAM=compile

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS source
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
COPY app/ ./

FROM source AS lint
# gofmt lists what it would change and still exits 0: its output is the finding.
RUN --network=none unformatted="$(gofmt -l .)" \
    && if [ -n "$unformatted" ]; then gofmt -d . >&2; exit 1; fi
RUN --network=none --mount=type=cache,id=dockerutilities-go,target=/root/.cache/go-build \
    go vet ./...

FROM source AS fmt
RUN --network=none gofmt -w .

FROM source AS test
RUN --network=none --mount=type=cache,id=dockerutilities-go,target=/root/.cache/go-build \
    go test -coverpkg=./... -coverprofile=/tmp/coverage.out ./... \
    && go tool cover -func=/tmp/coverage.out > /tmp/coverage.txt \
    && tail -n 1 /tmp/coverage.txt

FROM source AS compile
ARG TARGETOS
ARG TARGETARCH
ARG TARGETVARIANT
# Declared as late as can be: the compiled packages come from the cache mount, so that a new
# version links again and compiles nothing.
ARG VERSION=0.0.1-SNAPSHOT-none
ARG REVISION=
ARG CREATED=
RUN --network=none --mount=type=cache,id=dockerutilities-go,target=/root/.cache/go-build \
    GOOS="$TARGETOS" GOARCH="$TARGETARCH" GOARM="${TARGETVARIANT#v}" \
    go build -trimpath \
    -ldflags "-s -w -X main.version=${VERSION} -X main.revision=${REVISION} -X main.created=${CREATED}" \
    -o /out/dockerutilities .

FROM scratch AS prebuilt
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/dockerutilities /out/dockerutilities

FROM ${PROGRAM} AS program

FROM --platform=$BUILDPLATFORM alpine:${ALPINE_VERSION} AS skeleton
COPY --chmod=0755 scripts/entrypoint.sh /out/usr/local/bin/entrypoint.sh
# The user is made by appending a line, not by adduser: the base may lack it, and BusyBox writes
# the day into /etc/shadow, which would make every day's image another one.
# A file that is copied keeps the time of its checkout, and only times after SOURCE_DATE_EPOCH are
# set to it in the image: touch makes sure that it is after.
RUN --network=none touch /out/usr/local/bin/entrypoint.sh \
    && mkdir -p /out/etc /out/app/data \
    && { cat /etc/passwd; echo 'dockerutilities:x:1001:1001::/app:/sbin/nologin'; } > /out/etc/passwd \
    && { cat /etc/group; echo 'dockerutilities:x:1001:'; } > /out/etc/group \
    && chown 1001:1001 /out/app/data

FROM scratch AS binary
COPY --from=program /out/dockerutilities /

FROM scratch AS coverage
COPY --from=test /tmp/coverage.out /tmp/coverage.txt /

FROM scratch AS formatted
COPY --from=fmt /src/ /

FROM alpine:${ALPINE_VERSION} AS runtime
# With the owners of the stage it comes from: COPY --chown would give away /app as well.
COPY --from=skeleton /out/ /
COPY --from=program /out/dockerutilities /usr/local/bin/dockerutilities
WORKDIR /app
ENV DOCKERUTILITIES_HOST=0.0.0.0 \
    DOCKERUTILITIES_PORT=8080 \
    DOCKERUTILITIES_DATA_DIR=/app/data
# For the entrypoint alone, which drops to 1001 before anything else runs: the socket and the data
# directory that plain `docker run -v …` mounts are root's. With --user 1001 it never is root.
# hadolint ignore=DL3002
USER 0:0
VOLUME /app/data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/dockerutilities", "run-as", "--user", "1001:1001", "--", \
        "/usr/local/bin/dockerutilities", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["server"]
