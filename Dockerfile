# The operator's image: one bundled file on Node, not root, nothing written to disk.
# BASE must hold a `node` (20.19 or newer) on its PATH. The bundle is made beforehand: npm ci && npm run build
ARG BASE=node:24-bookworm-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="muster-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY LICENSE dist/operator.mjs dist/operator.mjs.map worker/celery/muster_worker.py /app/
USER 65532:65532
# Two arenas instead of eight per core, and large blocks on pages of their own, for good: what a burst of answers took is given
# back, and not kept in pieces.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072 MUSTER_WORKER_FILE=/app/muster_worker.py
# Source maps turn a stack trace into lines of this repository; the heap bound fits the chart's memory limit. The other
# three keep 1,000 pools in less memory (`npm run bench`), for some more garbage collection.
ENTRYPOINT ["node", "--enable-source-maps", "--max-old-space-size=160", "--max-semi-space-size=1", "--optimize-for-size", "--heap-growing-percent=15", "/app/operator.mjs"]
