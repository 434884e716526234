# Images of Redis and Valkey with the module: `docker build --target redis .`, `docker build --target valkey .`.
# docs/images.md says how to run them, and what of it was tried.

# Whole names, so that a digest, a mirror or an image of one's own can take their place.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG REDIS_IMAGE=redis:8
ARG VALKEY_IMAGE=valkey/valkey:9

# The library needs glibc as new as that it was built with, or newer. Bookworm's is no newer than that of either server's
# Debian image; Alpine has none.
FROM ${RUST_IMAGE} AS builder
WORKDIR /src
COPY . .
RUN make setup-build build \
    && install -D -m 755 -s target/release/libblocking_cleanup.so /out/libblocking_cleanup.so \
    && install -m 644 LICENSE /out/LICENSE

FROM ${VALKEY_IMAGE} AS valkey
ARG VERSION=0.5.0
ARG SOURCE=
ARG REVISION=
LABEL org.opencontainers.image.title="Valkey with blocking-cleanup" \
      org.opencontainers.image.description="Valkey with the module that removes dead coordinators and every key they leave behind" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /out/ /usr/local/lib/blocking-cleanup/
# The image's own user valkey, as a number: Kubernetes cannot tell from a name that it is not root.
USER 999:999
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "timeout 3 valkey-cli -e BLOCKING.STATUS || exit 1"]
CMD ["valkey-server", "--loadmodule", "/usr/local/lib/blocking-cleanup/libblocking_cleanup.so"]

# The last stage is what `docker build .` makes. Redis loads what lies in /usr/local/lib/redis/modules by itself, and
# fails if it is named again; hence a folder of the module's own.
FROM ${REDIS_IMAGE} AS redis
ARG VERSION=0.5.0
ARG SOURCE=
ARG REVISION=
LABEL org.opencontainers.image.title="Redis with blocking-cleanup" \
      org.opencontainers.image.description="Redis with the module that removes dead coordinators and every key they leave behind" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /out/ /usr/local/lib/blocking-cleanup/
# The image's own user redis.
USER 999:999
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "timeout 3 redis-cli -e BLOCKING.STATUS || exit 1"]
CMD ["redis-server", "--loadmodule", "/usr/local/lib/blocking-cleanup/libblocking_cleanup.so"]
