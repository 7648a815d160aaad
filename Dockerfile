# docker build -t chiasm .                    (--build-arg TORCH_INDEX=… chooses the build of torch, EXTRAS=otel adds extras)
# docker run -p 127.0.0.1:8000:8000 -v chiasm-data:/data chiasm
#
# Publish the port on loopback, as above, until there is a key: docker exec CONTAINER chiasm keys create NAME

FROM python:3.12-slim AS build
ARG TORCH_INDEX=
WORKDIR /source
RUN python -m venv /opt/chiasm
ENV PATH=/opt/chiasm/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt ./
RUN pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
ARG EXTRAS=
RUN pip install -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" && pip uninstall -y pip

FROM python:3.12-slim
RUN groupadd --gid 10001 chiasm && useradd --uid 10001 --gid 10001 --no-create-home chiasm && install -d -o chiasm -g chiasm /data
COPY --from=build /opt/chiasm /opt/chiasm
ENV PATH=/opt/chiasm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    CHIASM_SERVER_HOST=0.0.0.0 \
    CHIASM_SERVER_ALLOW_REMOTE=true \
    CHIASM_LIBRARY_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["chiasm", "serve"]
