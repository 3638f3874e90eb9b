# What the sample platform's Python services build on: Python with the two clients they use, and a plain user.
# Servers have no way out to a package index, so what services need is installed here.
ARG BASE
FROM ${BASE}
COPY machine/apt.conf /etc/apt/apt.conf.d/90-machine
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-pymongo python3-redis \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /etc/apt/apt.conf.d/90-machine \
 && useradd --uid 1000 --create-home --shell /usr/sbin/nologin app
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1
LABEL cm.sandbox.cache=1
CMD ["python3"]
