# The service: `serve` by default, `worker` beside it. Base image as in CI: Debian 12 with its Python.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/dolgo \
    && /opt/dolgo/bin/pip install --require-hashes --only-binary :all: --requirement requirements/run.lock \
    && pip install --require-hashes --only-binary :all: --requirement requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY dolgo/ dolgo/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/dolgo/bin/pip install --no-deps --no-index --find-links /dist dolgo

FROM python:${PYTHON}
# /app is where task types are looked for, in tasks/; /data is for a SQLite file, and has to be a volume.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin dolgo \
    && install --directory --owner dolgo --group dolgo /app /data
COPY --from=build /opt/dolgo /opt/dolgo
# A server and a worker answer probes on the same port, each in its own container, so one health check does for both.
ENV PATH=/opt/dolgo/bin:$PATH \
    DOLGO_STORE=sqlite:////data/dolgo.db \
    DOLGO_HOST=0.0.0.0 \
    DOLGO_HEALTH_HOST=0.0.0.0 \
    DOLGO_HEALTH_PORT=8080 \
    DOLGO_LOG_FORMAT=json
WORKDIR /app
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080
# Without urllib, which would ask a proxy of the environment.
HEALTHCHECK --interval=10s --timeout=8s --start-period=40s --retries=3 CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8080, timeout=7); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
# No shell in between: SIGTERM reaches dolgo itself, which drains.
ENTRYPOINT ["dolgo"]
CMD ["serve"]
