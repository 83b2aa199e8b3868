# Any image with Python 3.11 to 3.13 as python3, its venv and pip will do.
ARG BASE=python:3.13-slim

# Stage 1 has what builds; nothing but /opt/cse-operator leaves it.
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
COPY operator operator
RUN /opt/build/bin/hatchling build -t wheel -d /dist \
    && /opt/build/bin/pip --python /opt/cse-operator/bin/python3 install --no-deps /dist/*.whl \
    # The file system is read-only later. These caches are used unseen, whatever the files' dates.
    && /opt/cse-operator/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
        /opt/cse-operator/lib

# Stage 2 is what runs.
FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="cse-operator" \
      org.opencontainers.image.description="Keeps Huawei Cloud CSE microservice engines at the version declared in Git" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# Whoever gets in finds nothing to install with.
RUN python3 -c "import ensurepip, pathlib, pip, shutil; [shutil.rmtree(path) for path in (pathlib.Path(ensurepip.__file__).parent, *pathlib.Path(pip.__file__).parents[1].glob('pip*'))]" \
    && rm -f /usr/local/bin/pip* /usr/bin/pip*

COPY --from=builder /opt/cse-operator /opt/cse-operator
COPY LICENSE /licenses/LICENSE

# HOME and LOGNAME: a user without an entry in /etc/passwd has neither, and libraries ask for them.
ENV PATH="/opt/cse-operator/bin:${PATH}" \
    HOME=/ \
    LOGNAME=cse-operator \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["cse-operator"]
CMD ["run"]
