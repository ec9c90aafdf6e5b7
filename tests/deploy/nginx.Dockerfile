# Stands in for nginx's own image, where no registry is reached.
ARG BASE
FROM ${BASE}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update \
    && apt-get install -y --no-install-recommends curl libnginx-mod-http-js nginx-light
