ARG GO_VERSION=@GO_VERSION@
ARG ALPINE_VERSION=3.24

# It compiles on the machine's own platform for any other, so no emulation is needed.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS build
WORKDIR /src
ENV CGO_ENABLED=0
# First the modules alone: a change of the source does not download them again.
COPY @MODULES@ ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
# The version that git gives; the program has it in its variable main.version.
ARG VERSION=0.0.0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS="$TARGETOS" GOARCH="$TARGETARCH" \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/@NAME@ @PACKAGE@

FROM alpine:${ALPINE_VERSION}
COPY --from=build /out/@NAME@ /usr/local/bin/@NAME@
USER 65532:65532
@if PORT
EXPOSE @PORT@
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD @HEALTH@
@end
ENTRYPOINT ["/usr/local/bin/@NAME@"]
