# syntax=docker/dockerfile:1
# Embed, train and evaluate, on CPU and on NVIDIA GPUs: torch's packages bring CUDA's libraries along, so the default BASE needs none;
# a CUDA runtime image with python and pip serves as well. BASE and SOURCE_DATE_EPOCH as in controller.Dockerfile.
# Torch and its kin lie in a layer of their own below our code: a change of ours makes a layer of some megabytes.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
COPY Dockerfiles/stage.lock /opt/kubetuner/requirements.lock
RUN python -m pip install --root-user-action=ignore --disable-pip-version-check --no-cache-dir --no-compile --no-deps --require-hashes \
        --target /opt/kubetuner/packages --requirement /opt/kubetuner/requirements.lock \
    && { python -m compileall -qq --invalidation-mode unchecked-hash /opt/kubetuner/packages || true; } \
    && find /opt/kubetuner -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
# (Some of torch's own tests are in the words of newer Pythons, which an older one cannot compile.) Torch asks for the user's name.
RUN echo 'kubetuner:x:65532:65532:KubeTuner:/tmp:/usr/sbin/nologin' >>/etc/passwd && echo 'kubetuner:x:65532:' >>/etc/group
COPY LICENSE NOTICE /opt/kubetuner/
COPY services /opt/kubetuner/services
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/kubetuner/services \
    && find /opt/kubetuner/services -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +
ENV PYTHONPATH=/opt/kubetuner/services:/opt/kubetuner/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    PATH=/opt/kubetuner/packages/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HF_HUB_DISABLE_TELEMETRY=1 NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python -c "import kubetuner.embed.__main__, kubetuner.train.__main__, kubetuner.evaluate.__main__"
LABEL org.opencontainers.image.title="KubeTuner stage" \
      org.opencontainers.image.description="Embeds, trains and evaluates" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["python", "-m"]
CMD ["kubetuner.train"]
