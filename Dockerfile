# Marquee, every role: `docker run -p 8080:8080 marquee` has all of them in one process,
# `docker run marquee serve ratings` that one, `docker run marquee --help` tells the rest.
ARG BASE=debian:trixie-20261005-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f

FROM ${BASE} AS python
# Debian's own Python, with the patches of the day; the base's docker-clean would empty the cache.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3

FROM python AS build
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update \
    && apt-get install -y --no-install-recommends python3-venv
# What runs has neither pip nor the build's own needs: both stay in /build.
RUN python3 -m venv /build \
    && python3 -m venv --without-pip /opt/marquee
WORKDIR /src
COPY requirements/build.txt requirements/distributed.txt requirements/
# An index of your own, a proxy, certificates: `docker build --secret id=pip.conf,src=…`.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /build/bin/pip install --no-deps --require-hashes --only-binary :all: \
        -r requirements/build.txt \
    && /build/bin/pip --python /opt/marquee/bin/python install --no-compile \
        --no-deps --require-hashes --only-binary :all: -r requirements/distributed.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/marquee/bin/python install --no-compile \
        --no-deps --no-index /wheels/*.whl \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/marquee/lib

FROM python
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Marquee" \
      org.opencontainers.image.description="Movie ratings that are never lost, charts that never wait" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Marquee maintainers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/marquee /opt/marquee
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/marquee
ENV PATH=/opt/marquee/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MARQUEE_DATA=/var/lib/marquee \
    MARQUEE_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/marquee
VOLUME /var/lib/marquee
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=6 \
    CMD ["python", "-m", "marquee.health"]
ENTRYPOINT ["marquee"]
CMD ["serve"]
