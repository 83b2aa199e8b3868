# Any image of Debian's with Python 3.11 to 3.14 as python3, its venv and pip will do. The digest is
# of the list of images for all platforms; Renovate renews it.
ARG BASE=python:3.14-slim-trixie@sha256:51dafde81dbdb6ebde285137a295cf18a47ca95234fe388a343719cb97305b3d

# Stage 1 has what builds; nothing but /image leaves it.
FROM ${BASE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
WORKDIR /source

# Everything that is installed is pinned by hash: the builder of the wheel ...
COPY requirements.lock requirements-dev.lock ./
RUN awk '/^[^ ]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements-dev.lock > requirements-build.lock \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary=:all: -r requirements-build.lock

# ... and what the operator imports, into a virtual environment without a pip of its own.
RUN python3 -m venv --without-pip /opt/cse-operator \
    && /opt/build/bin/pip --python /opt/cse-operator/bin/python3 install \
        --require-hashes --only-binary=:all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY operator/cse_operator operator/cse_operator
RUN /opt/build/bin/hatchling build -t wheel -d /dist \
    && /opt/build/bin/pip --python /opt/cse-operator/bin/python3 install --no-deps /dist/*.whl

# What runs is gathered, file by file: there is no shell, no apt and no pip in it.
COPY hack/image_root.py ./
RUN python3 image_root.py /image /opt/cse-operator \
    && install -D -m 644 LICENSE /image/licenses/LICENSE

# Stage 2 is what runs.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="cse-operator" \
      org.opencontainers.image.description="Keeps Huawei Cloud CSE microservice engines at the version declared in Git" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

COPY --from=builder /image /

# HOME and LOGNAME: libraries ask for them, and a Pod may run as a user without an entry in /etc/passwd.
ENV PATH="/opt/cse-operator/bin" \
    HOME=/ \
    LOGNAME=cse-operator \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["cse-operator"]
CMD ["run"]
