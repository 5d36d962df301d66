# Redis for the demo and for tests in a cluster: Debian's server, reachable from other pods, nothing kept on disk.
ARG BASE
FROM ${BASE}
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*
USER 65532:65532
EXPOSE 6379
ENTRYPOINT ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
