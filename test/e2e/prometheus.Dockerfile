FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["/usr/bin/prometheus", "--config.file=/etc/scrape.yml", "--storage.tsdb.path=/tmp/data"]
