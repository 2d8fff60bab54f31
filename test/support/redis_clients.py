"""Does with redis-py what applications do, and prints what it has seen as JSON: {"step": result}.

Arguments: host, port, user, password, and a key of each of three shards.
"""

import json
import sys
import threading

import redis

host, port, user, password, *keys = sys.argv[1:]
first, second, third = keys
options = {"host": host, "port": int(port), "username": user, "password": password, "decode_responses": True}
client = redis.Redis(health_check_interval=1, client_name="python", **options)
seen = {}


def refusal(action):
    """The class and text of what an action raises."""
    try:
        return action()
    except redis.RedisError as error:
        return f"{type(error).__name__}: {error}"


def pipeline():
    with client.pipeline(transaction=False) as pipe:
        for number in range(300):
            pipe.set(f"py:{number}", number)
        for number in range(300):
            pipe.get(f"py:{number}")
        return pipe.execute()[300:] == [str(number) for number in range(300)]


def transaction():
    with client.pipeline() as pipe:
        return pipe.set(first, "a").get(first).execute()


def two_shards():
    with client.pipeline() as pipe:
        return refusal(lambda: pipe.set(first, "a").set(second, "b").execute())


def watched(changed):
    with client.pipeline() as pipe:
        pipe.watch(first)
        before = pipe.get(first)
        if changed:
            client.set(first, "other")
        pipe.multi()
        pipe.set(first, f"{before}!")
        return refusal(pipe.execute)


def blocking():
    client.delete(second)
    thread = threading.Timer(0.2, lambda: client.rpush(second, "x"))
    thread.start()
    popped = client.blpop([second], timeout=30)
    thread.join()
    return popped


def messages():
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        pubsub.psubscribe("n*")
        kinds = [pubsub.get_message(timeout=30)["type"] for _ in range(2)]
        client.publish("news", "m")
        kinds += [pubsub.get_message(timeout=30)["type"] for _ in range(2)]
        pubsub.ping()
        kinds.append(pubsub.get_message(timeout=30)["type"])
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        return kinds + [pubsub.get_message(timeout=30)["type"] for _ in range(2)]


def script():
    return client.register_script("return {KEYS[1], ARGV[1]}")(keys=[third], args=["x"])


def monitor():
    with client.monitor() as commands:
        client.set(second, "watched")
        for command in commands.listen():
            if command["command"].startswith("SET"):
                return command["command"]


def lock():
    with client.lock("py:lock", timeout=30):
        return client.lock("py:lock").acquire(blocking=False)


wrong = redis.Redis(**{**options, "password": "wrong"})
seen["wrong password"] = refusal(wrong.ping)
seen["ping"] = client.ping()
client.flushall()
seen["pipeline"] = pipeline()
seen["dbsize"] = client.dbsize()
seen["scan"] = len(set(client.scan_iter(match="py:*", count=20)))
seen["mget"] = client.mget(["py:1", "nothing", "py:2"])
seen["mset"] = client.mset({first: 1, second: 2, third: 3})
seen["delete"] = client.delete(first, second, third, "nothing")
seen["transaction"] = transaction()
seen["two shards"] = two_shards()
seen["watched"] = [watched(False), watched(True)]
seen["blocking"] = blocking()
seen["messages"] = messages()
seen["script"] = script()
seen["lock"] = lock()
seen["monitor"] = monitor()
seen["random"] = client.randomkey() is not None
info = client.info("everything")
seen["info"] = [info["loading"], info["shards"], info["db0"]["keys"] == client.dbsize()]
seen["config"] = client.config_get("maxmemory-policy")
seen["client"] = [client.client_info()["name"], client.client_info()["db"], len(client.client_list()) > 0]
seen["time"] = isinstance(client.time()[0], int)
seen["command"] = client.command_count() > 200
seen["cluster"] = refusal(lambda: client.execute_command("CLUSTER INFO"))
client.close()
print(json.dumps(seen))
