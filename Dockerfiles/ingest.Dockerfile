# syntax=docker/dockerfile:1
# The ingest room, with OpenCV for faces, without torch and without what of Arrow talks to servers. BASE and SOURCE_DATE_EPOCH as in
# controller.Dockerfile.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
COPY Dockerfiles/ingest.lock /opt/kubetuner/requirements.lock
RUN python -m pip install --root-user-action=ignore --disable-pip-version-check --no-cache-dir --no-compile --no-deps --require-hashes \
        --target /opt/kubetuner/packages --requirement /opt/kubetuner/requirements.lock \
    && cd /opt/kubetuner/packages \
    && rm -rf pyarrow/include pyarrow/includes pyarrow/src pyarrow/*flight* pyarrow/*s3* numpy/f2py Crypto/SelfTest \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash . \
    && find /opt/kubetuner -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
COPY LICENSE NOTICE /opt/kubetuner/
COPY services /opt/kubetuner/services
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/kubetuner/services \
    && find /opt/kubetuner/services -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
ENV PYTHONPATH=/opt/kubetuner/services:/opt/kubetuner/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    HF_HUB_DISABLE_TELEMETRY=1
RUN python -c "import kubetuner.ingest.__main__"
LABEL org.opencontainers.image.title="KubeTuner ingest" \
      org.opencontainers.image.description="Counts, sizes and crops the pictures of a run; brings its base model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["python", "-m", "kubetuner.ingest"]
