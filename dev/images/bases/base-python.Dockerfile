# A stand-in for python:*-slim where no image registry can be reached: Debian's Python with pip and venv.
ARG BASE
FROM ${BASE}
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*
ENV PYTHONUNBUFFERED=1
CMD ["python3"]
