# The pinned MinIO, built from its Go module by tools/minio.sh (a static binary); the context is the folder that holds it.
FROM scratch
COPY minio /minio
ENTRYPOINT ["/minio"]
