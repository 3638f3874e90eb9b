# Caddy from Debian, with the official image's paths.
ARG BASE
FROM ${BASE}
COPY machine/apt.conf /etc/apt/apt.conf.d/90-machine
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates caddy \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /etc/apt/apt.conf.d/90-machine \
 && mkdir -p /config/caddy /data/caddy /srv
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
WORKDIR /srv
LABEL cm.sandbox.cache=1
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
