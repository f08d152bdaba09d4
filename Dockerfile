# The images of Meshwarden: targets `webhook` and `installer`. `make image` builds them; docs/operations.md says how to do without public registries.
#
#   BUILDER   has Go and make; it runs on the machine's own platform and compiles for the other one
#   BASE      what the program is put on: anything with numeric users, also scratch; nothing of it is needed
#   BINARIES  built: compile here; prebuilt: take the programs that `make release` left in dist/
ARG BUILDER=docker.io/library/golang:1.26
ARG BASE=gcr.io/distroless/static-debian12:nonroot
ARG BINARIES=built

FROM --platform=$BUILDPLATFORM ${BUILDER} AS source
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .

FROM source AS built-webhook
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG COMMIT
ARG SOURCE_DATE_EPOCH
RUN make binary PROGRAM=webhook GOOS=${TARGETOS} GOARCH=${TARGETARCH} OUT=program

FROM --platform=$BUILDPLATFORM ${BUILDER} AS installer-source
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
COPY installer/go.mod installer/go.sum installer/
RUN cd installer && go mod download
COPY . .

FROM installer-source AS built-installer
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG COMMIT
ARG SOURCE_DATE_EPOCH
RUN make binary PROGRAM=installer GOOS=${TARGETOS} GOARCH=${TARGETARCH} OUT=program

FROM scratch AS prebuilt-webhook
ARG TARGETOS
ARG TARGETARCH
COPY dist/webhook-${TARGETOS}-${TARGETARCH} /src/program

FROM scratch AS prebuilt-installer
ARG TARGETOS
ARG TARGETARCH
COPY dist/installer-${TARGETOS}-${TARGETARCH} /src/program

# COPY --from takes no variables; these two names stand in.
FROM ${BINARIES}-webhook AS webhook-binary
FROM ${BINARIES}-installer AS installer-binary

FROM ${BASE} AS base
ARG VERSION
ARG COMMIT
LABEL org.opencontainers.image.source="https://github.com/meshwarden/meshwarden" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
# By number: kubelet cannot tell of a name whether it is root.
USER 65532:65532

FROM base AS installer
LABEL org.opencontainers.image.title="Meshwarden installer" \
      org.opencontainers.image.description="Installs the Istio operator and, through it, Istio's control plane"
COPY --from=installer-binary /src/program /installer
ENTRYPOINT ["/installer"]

# Last, so that a build without --target makes it.
FROM base AS webhook
LABEL org.opencontainers.image.title="Meshwarden" \
      org.opencontainers.image.description="Admission webhook and controller that keeps the routing of an Istio mesh honest"
COPY --from=webhook-binary /src/program /webhook
ENTRYPOINT ["/webhook"]
