# The service only: Python, the locked requirements, and the two distributions of this repository.
FROM python:3.11-slim AS build
RUN python -m venv /opt/riptide
COPY requirements/run.txt /source/requirements/
RUN /opt/riptide/bin/pip install --no-cache-dir --require-hashes --requirement /source/requirements/run.txt
COPY pyproject.toml README.md LICENSE /source/
COPY app /source/app
COPY telemetry /source/telemetry
RUN /opt/riptide/bin/pip install --no-cache-dir --no-deps --no-build-isolation /source/telemetry /source

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home riptide && install --directory --owner riptide --mode 0700 /data
COPY --from=build /opt/riptide /opt/riptide
ENV PATH=/opt/riptide/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RIPTIDE_DATA_DIR=/data \
    RIPTIDE_HOST=0.0.0.0 \
    RIPTIDE_PORT=8080
USER riptide
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; e = os.environ; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:%s/healthz/live' % (e.get('RIPTIDE_METRICS_PORT') or e['RIPTIDE_PORT']), timeout=2)"]
# SIGTERM closes all streams before the process ends: set the container's grace period to more than
# RIPTIDE_DRAIN_SECONDS.
ENTRYPOINT ["riptide"]
CMD ["serve"]
