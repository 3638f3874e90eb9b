# Redis from Debian, used as the official image is: data in /data, not as root.
ARG BASE
FROM ${BASE}
COPY machine/apt.conf /etc/apt/apt.conf.d/90-machine
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server redis-tools \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /etc/apt/apt.conf.d/90-machine \
 && install -d -o redis -g redis /data
USER redis
WORKDIR /data
LABEL cm.sandbox.cache=1
CMD ["redis-server", "--bind", "*", "--protected-mode", "no", "--dir", "/data"]
