# A stand-in for node:*-slim where no image registry can be reached: Debian, and Node's own binary from its npm package.
ARG BASE
FROM ${BASE}
COPY node /usr/local/bin/node
RUN node --version
CMD ["node"]
