# Build stages run on the build platform and cross-compile; the runtime stage only copies files. So
# a second platform needs no emulation, and the image contains no build tools.
ARG GO_VERSION=1.27
ARG ALPINE_VERSION=3.24
# Stage of the program: `compile` compiles it, `prebuilt` copies $TARGETPLATFORM/dockerutilities from
# the build context, for GoReleaser.
ARG PROGRAM=compile

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS source
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
COPY app/ ./

FROM source AS lint
# gofmt -l exits with code 0 even if it lists files.
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
# Declared as late as possible: a new version only links again, because the compiled packages are in
# the cache mount.
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
# The user is created by appending a line instead of adduser: the base may lack adduser, and BusyBox
# writes the day to /etc/shadow, so the image would differ from day to day. A copied file keeps the
# time of its checkout, and only times after SOURCE_DATE_EPOCH are set to it in the image: touch makes
# sure that the time is later.
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
# Keeps the owners of that stage: COPY --chown would change the owner of /app as well.
COPY --from=skeleton /out/ /
COPY --from=program /out/dockerutilities /usr/local/bin/dockerutilities
WORKDIR /app
ENV DOCKERUTILITIES_HOST=0.0.0.0 \
    DOCKERUTILITIES_PORT=8080 \
    DOCKERUTILITIES_DATA_DIR=/app/data
# Root is only for the entrypoint, which drops to 1001 before anything else runs: the socket and the
# data directory of a plain `docker run -v …` belong to root. With --user 1001 it is never root.
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
