FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends nutcracker && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["/usr/sbin/nutcracker"]
