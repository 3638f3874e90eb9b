# The database where mongo:7 cannot be pulled: SecantusDB, a server that speaks MongoDB's wire protocol and
# stores in WiredTiger, behind a `mongod` command that takes the same options. The compose file is the same.
ARG BASE
ARG PYTHON
FROM ${BASE} AS build
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY machine/apt.conf /etc/apt/apt.conf.d/90-machine
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3-minimal python3-pip
# The machine's trust store: behind a proxy that inspects TLS, only the machine knows its certificate.
COPY machine/ca.crt /tmp/ca.crt
RUN if [ -s /tmp/ca.crt ]; then export PIP_CERT=/tmp/ca.crt; fi; \
    pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
      --index-url "$PIP_INDEX_URL" --target /opt/secantus secantusdb==0.7.0b3 \
 && find /opt/secantus -name tests -type d -prune -exec rm -rf {} + \
 && find /opt/secantus -name '*.pyi' -delete \
 && python3 -m compileall -q /opt/secantus
LABEL cm.sandbox.cache=1

FROM ${PYTHON}
COPY --from=build /opt/secantus /opt/secantus
COPY services/mongod /usr/local/bin/mongod
COPY services/mongo-ping /usr/local/bin/mongo-ping
RUN chmod 0755 /usr/local/bin/mongod /usr/local/bin/mongo-ping \
 && useradd --uid 999 --system --home-dir /data/db --shell /usr/sbin/nologin mongodb \
 && install -d -o mongodb -g mongodb /data/db
USER mongodb
WORKDIR /data/db
EXPOSE 27017
LABEL cm.sandbox.cache=1
CMD ["mongod", "--bind_ip_all"]
