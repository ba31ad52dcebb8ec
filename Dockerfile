# One image for every process of Cortex; the command says which:
#   python -m api, python -m worker, python -m cortex.db.migrate
FROM python:3.11.14-slim-bookworm AS builder

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# Dependencies first: this layer is kept while only Cortex itself changes.
COPY requirements-server.txt ./
RUN python -m venv /opt/cortex \
    && /opt/cortex/bin/pip install --requirement requirements-server.txt

COPY pyproject.toml README.md LICENSE worker.py ./
COPY cortex cortex
COPY providers providers
COPY activities activities
COPY workflows workflows
COPY api api
COPY cli cli
RUN /opt/cortex/bin/pip install --no-deps . \
    && /opt/cortex/bin/pip uninstall --yes pip


FROM python:3.11.14-slim-bookworm

LABEL org.opencontainers.image.title="Cortex" \
      org.opencontainers.image.description="Durable orchestration of compute jobs on decentralised networks and your own machine" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# A user with a number, so that an orchestrator can check that it is not root.
RUN groupadd --gid 10001 cortex \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/cortex \
        --shell /usr/sbin/nologin cortex \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/cortex

COPY --from=builder /opt/cortex /opt/cortex

# Safe path: `python -m` must not import what a job left in the working folder.
ENV PATH=/opt/cortex/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    CORTEX_DATA_DIR=/var/lib/cortex

USER 10001:10001
WORKDIR /var/lib/cortex
VOLUME /var/lib/cortex
EXPOSE 8700

# No small init: each process handles SIGTERM itself and gets it directly, as process 1. Where jobs
# leave children behind (the worker with the `local` provider), run it with the engine's own init:
# `init: true` in compose, `docker run --init`. Health checks differ by process and stand in compose.
CMD ["python", "-m", "api"]
