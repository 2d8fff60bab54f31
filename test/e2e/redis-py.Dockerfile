FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends python3-redis && rm -rf /var/lib/apt/lists/*
COPY redis_load.py /redis_load.py
ENTRYPOINT ["/usr/bin/python3", "-u", "/redis_load.py"]
