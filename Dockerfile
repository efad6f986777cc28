# The image holds one static binary, CA certificates and an empty data directory.
# BUILDER is any image with Go, a shell and CA certificates.
ARG BUILDER=golang:1.26
# Where it is set, the builder runs on its own platform and compiles for the other one.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BUILDER} AS build

# Set by BuildKit for the platform asked for; empty means the builder's own.
ARG TARGETOS
ARG TARGETARCH
# For places where the public module proxy cannot be reached.
ARG GOPROXY=https://proxy.golang.org,direct
ARG GOFLAGS=
ARG REVISION=unknown

WORKDIR /src
COPY go.mod go.sum ./
RUN GOPROXY="${GOPROXY}" GOFLAGS="${GOFLAGS}" go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS="${TARGETOS}" GOARCH="${TARGETARCH}" GOPROXY="${GOPROXY}" GOFLAGS="${GOFLAGS}" \
    go build -trimpath -buildvcs=false -overlay "$(sh cmd/lean.sh)" -o /out/torchbearer \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$(cat VERSION) -X github.com/prometheus/common/version.Revision=${REVISION}" \
    ./cmd/torchbearer
# For everybody: a chart may run the image as another user.
RUN mkdir -m 1777 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/torchbearer /torchbearer
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
EXPOSE 9090
# The default of --storage.agent.path is data-agent/ below the working directory.
WORKDIR /data
VOLUME ["/data"]
ENTRYPOINT ["/torchbearer"]
