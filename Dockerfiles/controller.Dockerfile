# syntax=docker/dockerfile:1
# The controller. From the repository's root:
#   docker build -f Dockerfiles/controller.Dockerfile -t REGISTRY/kubetuner/controller:0.1.0 .
# BASE may be any image with python 3.11 or newer as `python`, with pip. With SOURCE_DATE_EPOCH, equal inputs give equal layers
# (buildah --timestamp, docker buildx with rewrite-timestamp=true).
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
COPY Dockerfiles/controller.lock /opt/kubetuner/requirements.lock
# What is removed is more than half of the whole: classes for every kind of the API, since the controller speaks in plain objects, tests, and
# what compilers would want.
RUN python -m pip install --root-user-action=ignore --disable-pip-version-check --no-cache-dir --no-compile --no-deps --require-hashes \
        --target /opt/kubetuner/packages --requirement /opt/kubetuner/requirements.lock \
    && cd /opt/kubetuner/packages \
    && rm -rf kubernetes/client/api kubernetes/aio/client/api \
    && find kubernetes/client/models kubernetes/aio/client/models -name '*.py' ! -name __init__.py -delete \
    && rm -rf bin Crypto/SelfTest Crypto/PublicKey Crypto/Signature Crypto/Protocol Crypto/Math Crypto/IO \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' -o -name '*.hpp' \) -delete \
    && python -m compileall -q --invalidation-mode unchecked-hash . \
    && find /opt/kubetuner -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
COPY LICENSE NOTICE /opt/kubetuner/
COPY services /opt/kubetuner/services
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/kubetuner/services \
    && find /opt/kubetuner/services -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
ENV PYTHONPATH=/opt/kubetuner/services:/opt/kubetuner/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN python -c "import kubetuner.controller.program, kubetuner.storage.minio, kubernetes.aio.client, kubernetes.aio.config"
LABEL org.opencontainers.image.title="KubeTuner controller" \
      org.opencontainers.image.description="Turns TrainingRuns into Jobs, and serves RunService" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
WORKDIR /tmp
USER 65532:65532
EXPOSE 8443 8080 8081
ENTRYPOINT ["python", "-m", "kubetuner.controller"]
