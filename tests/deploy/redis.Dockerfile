# Stands in for Redis' own image, where no registry is reached.
ARG BASE
FROM ${BASE}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    groupadd --gid 999 redis && useradd --uid 999 --gid redis redis \
    && apt-get update \
    && apt-get install -y --no-install-recommends redis-server \
    && install -d -o redis -g redis /data
USER redis
WORKDIR /data
VOLUME /data
