# p99 as an image: `docker build -t p99 .`
#
# Build arguments:
#   TARGET_CPU   empty (any x86-64 or arm64 of the platform); x86-64-v3 or native where the image
#                never leaves the machine
#   COMMIT       what `p99 --version` and the image's label say: $(git rev-parse --short=12 HEAD)
#   VERSION      the label of the version; empty where the image is no release
#   RUST_IMAGE, DEBIAN_IMAGE
#                what it is built with and stands on; `deploy/pin-images` prints them by digest
#
# What the image is made of: `deploy/sbom` prints it from Cargo.lock; the rest is Debian's.
#
# The same image is the proxy (no argument), the simulated processor (`processor`) and the tools of
# an operator (`check`, `health`, `ctl`, `explain`, `pending`, `resolve`, `journal`, `reconcile`,
# `store`).

ARG RUST_IMAGE=rust:1-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM $RUST_IMAGE AS build
WORKDIR /build
ARG TARGET_CPU=""

# The dependencies are a layer of their own: it is made anew only when Cargo.toml or Cargo.lock
# change. Tests, benches and examples are not copied, so the manifest must not name any.
COPY Cargo.toml Cargo.lock ./
RUN set -eu; \
    awk '/^\[/ { is_target = /^\[\[/ } !is_target' Cargo.toml >stripped; \
    mv stripped Cargo.toml; \
    mkdir src; \
    echo 'fn main() {}' >src/main.rs; \
    touch src/lib.rs; \
    if [ -n "$TARGET_CPU" ]; then export RUSTFLAGS="-C target-cpu=$TARGET_CPU"; fi; \
    cargo build --release --locked --bin p99

# COPY keeps the files' times, which may be older than the empty ones that were just built.
COPY build.rs ./
COPY src src
# There is no .git in here; `p99 --version` says this.
ARG COMMIT=""
RUN set -eu; \
    find src build.rs -type f -exec touch {} +; \
    if [ -n "$TARGET_CPU" ]; then export RUSTFLAGS="-C target-cpu=$TARGET_CPU"; fi; \
    P99_COMMIT="$COMMIT" cargo build --release --locked --bin p99

FROM $DEBIAN_IMAGE
ARG DEBIAN_IMAGE
ARG COMMIT=""
ARG VERSION=""
LABEL org.opencontainers.image.title="p99" \
    org.opencontainers.image.description="Payments proxy that gets every payment charged exactly once" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$COMMIT" \
    org.opencontainers.image.base.name="$DEBIAN_IMAGE"
# A fixed number, so that volumes and unix sockets can be shared by id.
RUN groupadd --gid 10001 p99 \
    && useradd --uid 10001 --gid p99 --no-create-home --home-dir /var/lib/p99 --shell /usr/sbin/nologin p99 \
    && install -d -o p99 -g p99 -m 0750 /var/lib/p99 /run/p99
# The authorities that processors over https may be vouched for by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/p99 /usr/local/bin/p99
USER 10001:10001
WORKDIR /var/lib/p99
VOLUME /var/lib/p99
EXPOSE 9999
# SIGTERM: readyz turns 503, the listeners close after DRAIN_DELAY_MS (3 s), what is in flight gets
# SHUTDOWN_GRACE_SECS (10 s). Give `docker stop` more than both: -t 20, stop_grace_period: 20s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["p99", "health"]
ENTRYPOINT ["p99"]
