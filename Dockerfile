# The scheduler, the agent and the command line in one image: `docker build -t quorate .`
# Needs neither BuildKit nor protoc. Both stages are of one Debian release, so that the program finds its C library.
FROM rust:1.95-slim-trixie AS build
# release, or dev: a build in a third of the time, of a program that is slower and larger.
ARG PROFILE=release
# A build that happens once has no use for either.
ENV CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
WORKDIR /build

# The dependencies in a layer of their own: it is built anew only if the manifests change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo 'fn main() {}' | tee build.rs src/main.rs benches/schedule.rs > benches/calendar.rs \
    && touch src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --bin quorate

COPY build.rs ./
COPY proto proto
COPY examples/calendars examples/calendars
COPY src src
# What GET /buildinfo says; not earlier, as it changes with each commit.
ARG REVISION=unknown
# Newer than what the stand-ins were built of, whatever times the checkout has. What a backtrace needs stays in.
RUN touch build.rs src/main.rs src/lib.rs \
    && QUORATE_REVISION="$REVISION" cargo build --locked --profile "$PROFILE" --bin quorate \
    && strip --strip-debug -o /quorate "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/quorate"


FROM debian:trixie-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="quorate" \
      org.opencontainers.image.description="A gRPC service that books meetings among participants who keep their own calendars" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# A number, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 quorate \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/quorate --shell /usr/sbin/nologin quorate \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/quorate
COPY LICENSE /usr/share/doc/quorate/LICENSE
COPY --from=build /quorate /usr/local/bin/quorate

USER 10001:10001
WORKDIR /var/lib/quorate
# The scheduler's database, or an agent's journal and what it has booked.
VOLUME /var/lib/quorate
# Within a container; who else reaches the ports is said where they are published.
ENV QUORATE_LISTEN=0.0.0.0:50051
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
# For the scheduler. An agent's is `quorate health --participant NAME`: is it registered?
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["quorate", "health"]
ENTRYPOINT ["quorate"]
CMD ["serve", "--data-dir", "/var/lib/quorate"]
