# Generated from packages/ambassador-shard/src/container.ts by "npm run generate"; do not edit.
ARG BASE_IMAGE=outrider/base:latest
FROM $BASE_IMAGE
COPY ambassador-shard/ /app/

# redis
EXPOSE 6379
# admin
EXPOSE 9111

# The shards; a change takes effect at once.
VOLUME ["/topology"]

# What can be set, with what holds when it is not:
# Where clients find the one Redis that they know. With several pools, and while it is not set, where nutcracker.yml says.
#ENV AMBASSADOR_SHARD_LISTEN=127.0.0.1:6379
# The shards: host:port[:weight] [name] or /path[:weight] [name], with commas between them. The name decides which keys a shard has; without one it is the address.
#ENV AMBASSADOR_SHARD_SERVERS= (required unless --topology)
# YAML file with the shards, their replicas and the rule by which keys are placed, or a nutcracker.yml of twemproxy as it is.
#ENV AMBASSADOR_SHARD_TOPOLOGY=
# The one pool of a nutcracker.yml that is served; all of them without.
#ENV AMBASSADOR_SHARD_POOL=
# Spare servers for the keys of shards that are down, as in servers.
#ENV AMBASSADOR_SHARD_GUTTER=
# What becomes of the keys of a shard that is down: keep answers an error at once, eject places them among the other shards until it is back, gutter sends them to the spare servers.
#ENV AMBASSADOR_SHARD_ON_FAILURE=keep
# Which servers of a shard answer reads. Replicas may say what was true a moment ago, also to a client that has just written.
#ENV AMBASSADOR_SHARD_READS=primary
# How long a command may wait for its reply.
#ENV AMBASSADOR_SHARD_TIMEOUT=5s
# How long connecting to a shard may take.
#ENV AMBASSADOR_SHARD_CONNECT_TIMEOUT=1s
# User by whose name the ambassador comes to the shards.
#ENV AMBASSADOR_SHARD_USERNAME=
# Password of the shards.
#ENV AMBASSADOR_SHARD_PASSWORD_FILE=
# Password that clients must give, as user default.
#ENV AMBASSADOR_SHARD_CLIENT_PASSWORD_FILE=
# YAML file of users to passwords, or to # and the SHA-256 of one; clients must be one of them.
#ENV AMBASSADOR_SHARD_USERS=
# How many hot keys of each shard are shown; 0 for none.
#ENV AMBASSADOR_SHARD_HOT_KEYS=10
# For how long GET of a hot key may be answered without asking its shard again: what other ambassadors write is seen that much later. Off while it is not set.
#ENV AMBASSADOR_SHARD_HOT_CACHE=
# Where twemproxy's statistics are told, for its exporters.
#ENV AMBASSADOR_SHARD_STATS=
# How servers are chosen for keys, where servers lists them.
#ENV AMBASSADOR_SHARD_DISTRIBUTION=ketama
# What hashes keys, where servers lists them: one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins.
#ENV AMBASSADOR_SHARD_HASH=
# Two characters, such as {}: only what stands between them in a key is hashed.
#ENV AMBASSADOR_SHARD_HASH_TAG=
# What a byte beyond ASCII is to the hash: unsigned where keys were placed by a twemproxy on ARM.
#ENV AMBASSADOR_SHARD_CHAR_SIGN=signed
# After how many failures in a row a server is down: broken connections, deadlines; and errors OOM, BUSY, LOADING with eject.
#ENV AMBASSADOR_SHARD_FAILURE_LIMIT=2
# How long a server that is down is left alone at first; it must answer to be back.
#ENV AMBASSADOR_SHARD_RETRY=100ms
# How long it is left alone at most.
#ENV AMBASSADOR_SHARD_RETRY_MAX=5s
# The database of the shards in which the keys are.
#ENV AMBASSADOR_SHARD_DB=0
# Whether shards are reached by TLS.
#ENV AMBASSADOR_SHARD_SHARD_TLS=false
# PEM file with the authorities of the shards; those of the system without.
#ENV AMBASSADOR_SHARD_SHARD_CA=
# PEM file with the certificate that the ambassador shows to shards.
#ENV AMBASSADOR_SHARD_SHARD_CERT=
# PEM file with the key of that certificate.
#ENV AMBASSADOR_SHARD_SHARD_KEY=
# The name that the certificates of shards must have; their host without.
#ENV AMBASSADOR_SHARD_SHARD_NAME=
# Clients at the same time; more are told so.
#ENV AMBASSADOR_SHARD_MAX_CLIENTS=10000
# The longest argument of a command.
#ENV AMBASSADOR_SHARD_MAX_VALUE=512MiB
# How long a client may take nothing of its replies until it is dropped.
#ENV AMBASSADOR_SHARD_STALL_TIMEOUT=60s
# Replies that may wait for a client that does not read; beyond it, it is dropped.
#ENV AMBASSADOR_SHARD_MAX_REPLIES=64MiB
# Where the admin API listens: health, readiness, metrics, parameters.
#ENV AMBASSADOR_SHARD_ADMIN=0.0.0.0:9111
# How long work in hand may go on after SIGTERM before it is cut off.
#ENV AMBASSADOR_SHARD_DRAIN=10s
# Least level that is logged.
#ENV AMBASSADOR_SHARD_LOG_LEVEL=info
# One JSON object a line, or text for people.
#ENV AMBASSADOR_SHARD_LOG_FORMAT=json

LABEL org.opencontainers.image.title='outrider/ambassador-shard'
LABEL org.opencontainers.image.description='Makes many Redis servers one at localhost: each key has its shard, placed as twemproxy places it.'
LABEL org.opencontainers.image.version='0.1.0'
LABEL org.opencontainers.image.licenses='Apache-2.0'
LABEL io.outrider.definition='{"name":"ambassador-shard","pattern":"ambassador","summary":"Makes many Redis servers one at localhost: each key has its shard, placed as twemproxy places it.","contract":["Every key stays where twemproxy had it, with the same servers or the same nutcracker.yml.","A command whose keys live on several shards is joined where that is right, and refused otherwise.","Replies come in the order of the commands, whichever shard is slow.","A shard that is down costs its own keys alone, at once.","The topology changes without a restart: connections of clients stay, and no acknowledged write is lost.","A topology that cannot be used never replaces a good one; line and column are said.","What is no RESP is answered by an error, and nothing of it reaches a shard.","A client that does not read its replies is dropped at a limit, and others do not notice."],"params":[{"name":"listen","kind":"address","help":"Where clients find the one Redis that they know. With several pools, and while it is not set, where nutcracker.yml says.","variable":"AMBASSADOR_SHARD_LISTEN","flag":"--listen","default":"127.0.0.1:6379"},{"name":"servers","kind":"text,...","help":"The shards: host:port[:weight] [name] or /path[:weight] [name], with commas between them. The name decides which keys a shard has; without one it is the address.","variable":"AMBASSADOR_SHARD_SERVERS","flag":"--servers","unless":"topology","example":"redis-1:6379:1 shard-1,redis-2:6379:1 shard-2"},{"name":"topology","kind":"path","help":"YAML file with the shards, their replicas and the rule by which keys are placed, or a nutcracker.yml of twemproxy as it is.","variable":"AMBASSADOR_SHARD_TOPOLOGY","flag":"--topology","optional":true,"reloads":true},{"name":"pool","kind":"text","help":"The one pool of a nutcracker.yml that is served; all of them without.","variable":"AMBASSADOR_SHARD_POOL","flag":"--pool","optional":true},{"name":"gutter","kind":"text,...","help":"Spare servers for the keys of shards that are down, as in servers.","variable":"AMBASSADOR_SHARD_GUTTER","flag":"--gutter","optional":true},{"name":"onFailure","kind":"keep|eject|gutter","help":"What becomes of the keys of a shard that is down: keep answers an error at once, eject places them among the other shards until it is back, gutter sends them to the spare servers.","variable":"AMBASSADOR_SHARD_ON_FAILURE","flag":"--on-failure","default":"keep"},{"name":"reads","kind":"primary|replicas|any","help":"Which servers of a shard answer reads. Replicas may say what was true a moment ago, also to a client that has just written.","variable":"AMBASSADOR_SHARD_READS","flag":"--reads","default":"primary"},{"name":"timeout","kind":"duration","help":"How long a command may wait for its reply.","variable":"AMBASSADOR_SHARD_TIMEOUT","flag":"--timeout","default":"5s"},{"name":"connectTimeout","kind":"duration","help":"How long connecting to a shard may take.","variable":"AMBASSADOR_SHARD_CONNECT_TIMEOUT","flag":"--connect-timeout","default":"1s"},{"name":"username","kind":"text","help":"User by whose name the ambassador comes to the shards.","variable":"AMBASSADOR_SHARD_USERNAME","flag":"--username","optional":true},{"name":"password","kind":"text","help":"Password of the shards.","variable":"AMBASSADOR_SHARD_PASSWORD","secret":true,"optional":true},{"name":"clientPassword","kind":"text","help":"Password that clients must give, as user default.","variable":"AMBASSADOR_SHARD_CLIENT_PASSWORD","secret":true,"optional":true},{"name":"users","kind":"path","help":"YAML file of users to passwords, or to # and the SHA-256 of one; clients must be one of them.","variable":"AMBASSADOR_SHARD_USERS","flag":"--users","optional":true,"reloads":true},{"name":"hotKeys","kind":"integer","help":"How many hot keys of each shard are shown; 0 for none.","variable":"AMBASSADOR_SHARD_HOT_KEYS","flag":"--hot-keys","default":"10"},{"name":"hotCache","kind":"duration","help":"For how long GET of a hot key may be answered without asking its shard again: what other ambassadors write is seen that much later. Off while it is not set.","variable":"AMBASSADOR_SHARD_HOT_CACHE","flag":"--hot-cache","optional":true},{"name":"stats","kind":"address","help":"Where twemproxy\u0027s statistics are told, for its exporters.","variable":"AMBASSADOR_SHARD_STATS","flag":"--stats","optional":true},{"name":"distribution","kind":"ketama|libketama|modula|libmemcached-modula|random|nginx|nginx-consistent|rendezvous|rendezvous-unweighted|jump","help":"How servers are chosen for keys, where servers lists them.","variable":"AMBASSADOR_SHARD_DISTRIBUTION","flag":"--distribution","default":"ketama","advanced":true},{"name":"hash","kind":"text","help":"What hashes keys, where servers lists them: one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins.","variable":"AMBASSADOR_SHARD_HASH","flag":"--hash","optional":true,"advanced":true},{"name":"hashTag","kind":"text","help":"Two characters, such as {}: only what stands between them in a key is hashed.","variable":"AMBASSADOR_SHARD_HASH_TAG","flag":"--hash-tag","optional":true,"advanced":true},{"name":"charSign","kind":"signed|unsigned","help":"What a byte beyond ASCII is to the hash: unsigned where keys were placed by a twemproxy on ARM.","variable":"AMBASSADOR_SHARD_CHAR_SIGN","flag":"--char-sign","default":"signed","advanced":true},{"name":"failureLimit","kind":"integer","help":"After how many failures in a row a server is down: broken connections, deadlines; and errors OOM, BUSY, LOADING with eject.","variable":"AMBASSADOR_SHARD_FAILURE_LIMIT","flag":"--failure-limit","default":"2","advanced":true},{"name":"retry","kind":"duration","help":"How long a server that is down is left alone at first; it must answer to be back.","variable":"AMBASSADOR_SHARD_RETRY","flag":"--retry","default":"100ms","advanced":true},{"name":"retryMax","kind":"duration","help":"How long it is left alone at most.","variable":"AMBASSADOR_SHARD_RETRY_MAX","flag":"--retry-max","default":"5s","advanced":true},{"name":"db","kind":"integer","help":"The database of the shards in which the keys are.","variable":"AMBASSADOR_SHARD_DB","flag":"--db","default":"0","advanced":true},{"name":"shardTls","kind":"flag","help":"Whether shards are reached by TLS.","variable":"AMBASSADOR_SHARD_SHARD_TLS","flag":"--shard-tls","default":"false","advanced":true},{"name":"shardCa","kind":"path","help":"PEM file with the authorities of the shards; those of the system without.","variable":"AMBASSADOR_SHARD_SHARD_CA","flag":"--shard-ca","optional":true,"advanced":true,"reloads":true},{"name":"shardCert","kind":"path","help":"PEM file with the certificate that the ambassador shows to shards.","variable":"AMBASSADOR_SHARD_SHARD_CERT","flag":"--shard-cert","optional":true,"advanced":true,"reloads":true},{"name":"shardKey","kind":"path","help":"PEM file with the key of that certificate.","variable":"AMBASSADOR_SHARD_SHARD_KEY","flag":"--shard-key","optional":true,"advanced":true,"reloads":true},{"name":"shardName","kind":"text","help":"The name that the certificates of shards must have; their host without.","variable":"AMBASSADOR_SHARD_SHARD_NAME","flag":"--shard-name","optional":true,"advanced":true},{"name":"maxClients","kind":"integer","help":"Clients at the same time; more are told so.","variable":"AMBASSADOR_SHARD_MAX_CLIENTS","flag":"--max-clients","default":"10000","advanced":true},{"name":"maxValue","kind":"bytes","help":"The longest argument of a command.","variable":"AMBASSADOR_SHARD_MAX_VALUE","flag":"--max-value","default":"512MiB","advanced":true},{"name":"stallTimeout","kind":"duration","help":"How long a client may take nothing of its replies until it is dropped.","variable":"AMBASSADOR_SHARD_STALL_TIMEOUT","flag":"--stall-timeout","default":"60s","advanced":true},{"name":"maxReplies","kind":"bytes","help":"Replies that may wait for a client that does not read; beyond it, it is dropped.","variable":"AMBASSADOR_SHARD_MAX_REPLIES","flag":"--max-replies","default":"64MiB","advanced":true},{"name":"admin","kind":"address","help":"Where the admin API listens: health, readiness, metrics, parameters.","variable":"AMBASSADOR_SHARD_ADMIN","flag":"--admin","default":"0.0.0.0:9111"},{"name":"drain","kind":"duration","help":"How long work in hand may go on after SIGTERM before it is cut off.","variable":"AMBASSADOR_SHARD_DRAIN","flag":"--drain","default":"10s"},{"name":"logLevel","kind":"debug|info|warn|error","help":"Least level that is logged.","variable":"AMBASSADOR_SHARD_LOG_LEVEL","flag":"--log-level","default":"info","advanced":true,"shared":"LOG_LEVEL"},{"name":"logFormat","kind":"json|text","help":"One JSON object a line, or text for people.","variable":"AMBASSADOR_SHARD_LOG_FORMAT","flag":"--log-format","default":"json","advanced":true,"shared":"LOG_FORMAT"}],"ports":{"redis":"listen","stats":"stats"},"volumes":{"/topology":"The shards; a change takes effect at once."},"metrics":[{"name":"outrider_ambassador_shard_commands_total","type":"counter","help":"Commands of clients.","labels":["pool"]},{"name":"outrider_ambassador_shard_clients","type":"gauge","help":"Clients that are connected.","labels":["pool"]},{"name":"outrider_ambassador_shard_clients_total","type":"counter","help":"Clients that have connected.","labels":["pool"]},{"name":"outrider_ambassador_shard_client_errors_total","type":"counter","help":"Clients that were cut off, or that broke off.","labels":["pool"]},{"name":"outrider_ambassador_shard_fragments_total","type":"counter","help":"Parts into which commands over several shards were split.","labels":["pool"]},{"name":"outrider_ambassador_shard_forward_errors_total","type":"counter","help":"Commands that could not be sent to their shard.","labels":["pool"]},{"name":"outrider_ambassador_shard_hot_cache_hits_total","type":"counter","help":"Answers for hot keys for which no shard was asked.","labels":["pool"]},{"name":"outrider_ambassador_shard_shard_up","type":"gauge","help":"Whether commands are sent to the primary of the shard: 1 or 0.","labels":["pool","shard"]},{"name":"outrider_ambassador_shard_shard_ejected","type":"gauge","help":"Whether the keys of the shard are placed among the others: 1 or 0.","labels":["pool","shard"]},{"name":"outrider_ambassador_shard_shard_latency_p50_seconds","type":"gauge","help":"Time within which half of the replies came, of the last half minute to a minute.","labels":["pool","shard"]},{"name":"outrider_ambassador_shard_shard_latency_p99_seconds","type":"gauge","help":"Time within which 99 of 100 replies came, of the last half minute to a minute.","labels":["pool","shard"]},{"name":"outrider_ambassador_shard_hot_key_requests_per_second","type":"gauge","help":"How often the hottest keys are asked for, from a sample.","labels":["pool","shard","key"]},{"name":"outrider_ambassador_shard_server_up","type":"gauge","help":"Whether commands are sent to the server: 1 or 0.","labels":["pool","shard","server","role"]},{"name":"outrider_ambassador_shard_server_requests_total","type":"counter","help":"Commands sent to the server.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_replies_total","type":"counter","help":"Replies that came from the server.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_request_bytes_total","type":"counter","help":"Bytes sent to the server.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_reply_bytes_total","type":"counter","help":"Bytes that came from the server.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_failures_total","type":"counter","help":"Connections to the server that broke, and deadlines passed.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_timeouts_total","type":"counter","help":"Commands that were not answered in time.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_in_flight","type":"gauge","help":"Replies of the server that are awaited.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_server_connections","type":"gauge","help":"Connections to the server.","labels":["pool","shard","server"]},{"name":"outrider_ambassador_shard_config_last_reload_successful","type":"gauge","help":"Whether the last load of these files was taken: 1 or 0.","labels":["file"]},{"name":"outrider_ambassador_shard_config_last_reload_timestamp_seconds","type":"gauge","help":"When these files were last taken, Unix time.","labels":["file"]},{"name":"outrider_ambassador_shard_config_reloads_total","type":"counter","help":"Loads of these files, by result: taken or refused.","labels":["file","result"]}],"pages":{"/status":{"title":"Shards","help":"Each shard with its servers, state, load, hot keys and share of the keys."}},"commands":{"explain":{"usage":"<key>...","summary":"Says on which shard each key lives, and why."},"diff":{"usage":"<old> <new>","summary":"Says what another topology file would move, before it is used."}}}'

USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]
ENTRYPOINT ["/usr/bin/node","--max-semi-space-size=2","--v8-pool-size=1","/app/main.js"]
