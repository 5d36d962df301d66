# The operator's image: one bundled file on Node, not root, nothing written to disk.
# BASE must hold a `node` (20.19 or newer) on its PATH. The bundle is made beforehand: npm ci && npm run build
ARG BASE=node:24-bookworm-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="muster-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY LICENSE dist/operator.mjs dist/operator.mjs.map worker/celery/muster_worker.py /app/
USER 65532:65532
ENV NODE_ENV=production MUSTER_WORKER_FILE=/app/muster_worker.py
# Source maps turn a stack trace into lines of this repository; the heap bound fits the chart's memory limit.
ENTRYPOINT ["node", "--enable-source-maps", "--max-old-space-size=160", "--max-semi-space-size=2", "/app/operator.mjs"]
