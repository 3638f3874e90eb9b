# The database where mongo:7 can be pulled: that image, plus the health check the compose file calls.
ARG MONGO
FROM ${MONGO}
COPY services/mongo-ping-upstream /usr/local/bin/mongo-ping
RUN chmod 0755 /usr/local/bin/mongo-ping
LABEL cm.sandbox.cache=1
# The default cache is half the machine's memory; a sample platform needs none of that.
CMD ["mongod", "--wiredTigerCacheSizeGB", "0.25"]
