FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends python3-redis redis-tools && rm -rf /var/lib/apt/lists/*
COPY redis_clients.py /redis_clients.py
