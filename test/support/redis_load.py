"""Writes and reads until its input ends: PythonLoad of redis-load.ts says what its tally means."""

import json
import sys
import threading
import time

import redis

host, hangs_s, *keys = sys.argv[1:]
client = redis.Redis(host=host, socket_timeout=float(hangs_s), decode_responses=True, single_connection_client=True)
stopping = threading.Event()
lock = threading.Lock()
tally = {
    "keys": {key: {"acknowledged": 0, "doubtful": []} for key in keys},
    "writes": 0,
    "reads": 0,
    "failed": {},
    "errors": {},
    "wrong": [],
    "older": [],
    "broken": [],
    "slowestAnswer": 0,
    "slowestError": 0,
}


def slowest(name, since):
    tally[name] = max(tally[name], (time.monotonic() - since) * 1000)


def fail(key, error, since):
    text = str(error)
    if not isinstance(error, (redis.ResponseError, redis.BusyLoadingError)):
        tally["broken"].append(f"{type(error).__name__}: {text}")
    tally["failed"][key] = tally["failed"].get(key, 0) + 1
    tally["errors"][text] = tally["errors"].get(text, 0) + 1
    slowest("slowestError", since)


def judge(key, value):
    written = tally["keys"][key]
    name, _, digits = (value or f"{key}=0").rpartition("=")
    number = int(digits) if digits.isdigit() else -1
    if name != key or (number > written["acknowledged"] and number not in written["doubtful"]):
        tally["wrong"].append(f"{value} for {key}, of which {written['acknowledged']} was acknowledged")
    elif number < written["acknowledged"]:
        tally["older"].append([key, number])


def read(asked, ask):
    since = time.monotonic()
    try:
        values = ask()
    except redis.RedisError as error:
        values = [error] * len(asked)
    with lock:
        if len(values) != len(asked):
            tally["wrong"].append(f"{len(values)} values of {len(asked)} keys")
        for key, value in zip(asked, values):
            if isinstance(value, redis.RedisError):
                fail(key, value, since)
            else:
                tally["reads"] += 1
                slowest("slowestAnswer", since)
                judge(key, value)


def write(key):
    written = tally["keys"][key]
    number = max([written["acknowledged"], *written["doubtful"]]) + 1
    since = time.monotonic()
    try:
        answer = client.set(key, f"{key}={number}")
    except redis.RedisError as error:
        with lock:
            written["doubtful"].append(number)
            fail(key, error, since)
        return
    with lock:
        if answer is not True:
            tally["wrong"].append(f"{answer} to SET {key}")
        tally["writes"] += 1
        written.update(acknowledged=number, doubtful=[])
        slowest("slowestAnswer", since)


def run():
    while not stopping.is_set():
        for key in keys:
            if stopping.is_set():
                break
            read([key], lambda: [client.get(key)])
            write(key)
            time.sleep(0.001)
        read(keys, lambda: client.mget(keys))


def tell():
    with lock:
        print(json.dumps(tally), flush=True)


thread = threading.Thread(target=run)
thread.start()
for _ in sys.stdin:
    tell()
stopping.set()
thread.join()
tell()
