# The pinned MinIO, built from its Go module (its own images and releases are gone from the public hubs): some minutes at the first build, then cached.
# GO_IMAGE may be any image with a Go toolchain, or one that holds a ready binary at /out/minio.
ARG GO_IMAGE=golang:1-bookworm
FROM ${GO_IMAGE} AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
RUN test -x /out/minio || CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags "-s -w" "github.com/minio/minio@${MINIO_VERSION}"

FROM scratch
COPY --from=build /out/minio /minio
ENTRYPOINT ["/minio"]
