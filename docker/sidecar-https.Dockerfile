# Generated from packages/sidecar-https/src/container.ts by "npm run generate"; do not edit.
ARG BASE_IMAGE=outrider/base:latest
FROM $BASE_IMAGE
COPY sidecar-https/ /app/

# https
EXPOSE 8443
# admin
EXPOSE 9101

# Holds tls.crt and tls.key, for example a Kubernetes TLS Secret; while it is empty, a self-signed certificate is served.
VOLUME ["/tls"]

# What can be set, with what holds when it is not:
# Where to accept TLS connections.
#ENV SIDECAR_HTTPS_LISTEN=0.0.0.0:8443
# The application to forward to.
#ENV SIDECAR_HTTPS_TARGET=http://127.0.0.1:8080
# PEM file with the certificate and its chain.
#ENV SIDECAR_HTTPS_CERT=/tls/tls.crt
# PEM file with the private key.
#ENV SIDECAR_HTTPS_KEY=/tls/tls.key
# PKCS#12 file with certificate, chain and key, in place of cert and key.
#ENV SIDECAR_HTTPS_PKCS12=
# Password of the PKCS#12 files.
#ENV SIDECAR_HTTPS_PKCS12_PASSWORD_FILE=
# Directory of certificates, chosen by the name that the client asks for.
#ENV SIDECAR_HTTPS_CERTS=
# Refuse clients that ask for no name, or for one without a certificate.
#ENV SIDECAR_HTTPS_STRICT_NAMES=false
# Where to answer plain HTTP with 308 to HTTPS.
#ENV SIDECAR_HTTPS_REDIRECT=
# The port of HTTPS that redirected clients are sent to.
#ENV SIDECAR_HTTPS_REDIRECT_TO=443
# Value of Strict-Transport-Security on each response, such as max-age=31536000.
#ENV SIDECAR_HTTPS_HSTS=
# Whether clients must show a certificate.
#ENV SIDECAR_HTTPS_CLIENT_AUTH=off
# PEM file with the authorities of client certificates.
#ENV SIDECAR_HTTPS_CLIENT_CA=
# PEM file with the revocation lists of these authorities.
#ENV SIDECAR_HTTPS_CLIENT_CRL=
# Let in every client whose certificate these authorities have issued.
#ENV SIDECAR_HTTPS_ALLOW_ALL=false
# Common names of clients that are let in.
#ENV SIDECAR_HTTPS_ALLOW_CN=
# Organizational units of clients that are let in.
#ENV SIDECAR_HTTPS_ALLOW_OU=
# DNS names of clients that are let in; *.example.com for one label.
#ENV SIDECAR_HTTPS_ALLOW_DNS=
# URIs of clients that are let in, such as spiffe://example.org/ns/*/sa/web.
#ENV SIDECAR_HTTPS_ALLOW_URI=
# IP addresses in certificates of clients that are let in.
#ENV SIDECAR_HTTPS_ALLOW_IP=
# SHA-256 of public keys of clients that are let in, base64 or hexadecimal.
#ENV SIDECAR_HTTPS_ALLOW_SPKI=
# Header that tells the application of a verified client.
#ENV SIDECAR_HTTPS_IDENTITY_HEADER=X-Forwarded-Client-Cert
# tcp: take TLS off and pass the bytes, whatever their protocol.
#ENV SIDECAR_HTTPS_MODE=http
# Offer HTTP/2.
#ENV SIDECAR_HTTPS_HTTP2=true
# Addresses or networks whose X-Forwarded- headers are believed.
#ENV SIDECAR_HTTPS_TRUSTED_PROXIES=
# Addresses or networks whose connections begin with a PROXY header.
#ENV SIDECAR_HTTPS_PROXY_PROTOCOL_FROM=
# Begin connections to the application with a PROXY header, version 2.
#ENV SIDECAR_HTTPS_PROXY_PROTOCOL_SEND=false
# PEM file with the authorities of an https target; the common ones by default.
#ENV SIDECAR_HTTPS_TARGET_CA=
# Name that the certificate of an https target must have; its host by default.
#ENV SIDECAR_HTTPS_TARGET_NAME=
# PEM file with the certificate that an https target is shown.
#ENV SIDECAR_HTTPS_TARGET_CERT=
# PEM file with the key of that certificate.
#ENV SIDECAR_HTTPS_TARGET_KEY=
# Allow a plain target outside of this pod: everybody on the way can read and change it.
#ENV SIDECAR_HTTPS_UNSAFE_TARGET=false
# Oldest version of TLS.
#ENV SIDECAR_HTTPS_MIN_TLS=1.2
# Ciphers in OpenSSL's notation; forward secrecy with AEAD by default.
#ENV SIDECAR_HTTPS_CIPHERS=
# Curves in OpenSSL's notation, such as X25519:P-256.
#ENV SIDECAR_HTTPS_CURVES=
# File of 48 bytes that servers share to resume each other's sessions.
#ENV SIDECAR_HTTPS_TICKET_KEYS=
# How long keys of session tickets are used that are made here.
#ENV SIDECAR_HTTPS_TICKET_ROTATION=12h
# Name under which it puts itself into Via.
#ENV SIDECAR_HTTPS_VIA=
# create: give requests without a traceparent one.
#ENV SIDECAR_HTTPS_TRACEPARENT=pass
# Give each request an X-Request-Id.
#ENV SIDECAR_HTTPS_REQUEST_ID=false
# Log each request.
#ENV SIDECAR_HTTPS_ACCESS_LOG=false
# How long the application may take until its response begins; then 504.
#ENV SIDECAR_HTTPS_RESPONSE_TIMEOUT=60s
# How long connecting to the application may take; then 504.
#ENV SIDECAR_HTTPS_CONNECT_TIMEOUT=5s
# How long a TLS handshake may take.
#ENV SIDECAR_HTTPS_HANDSHAKE_TIMEOUT=10s
# How long the head of a request may take; then 408.
#ENV SIDECAR_HTTPS_HEAD_TIMEOUT=10s
# How long a connection may be idle between requests.
#ENV SIDECAR_HTTPS_IDLE_TIMEOUT=75s
# How long a client may owe body bytes or take none of a response.
#ENV SIDECAR_HTTPS_STALL_TIMEOUT=60s
# Bytes a second that a client must send of a body, over the stall timeout; then 408.
#ENV SIDECAR_HTTPS_MIN_BODY_RATE=240
# With mode tcp: how long a connection may be silent.
#ENV SIDECAR_HTTPS_TCP_IDLE_TIMEOUT=1h
# Size of the head of a request; then 431.
#ENV SIDECAR_HTTPS_MAX_HEAD=16KiB
# Length of the target of a request; then 414.
#ENV SIDECAR_HTTPS_MAX_URI=8KiB
# Headers of a request; then 431.
#ENV SIDECAR_HTTPS_MAX_HEADERS=256
# Size of the body of a request; then 413. 0 for no limit: bodies are not kept in memory.
#ENV SIDECAR_HTTPS_MAX_BODY=0
# Threads that serve; each costs about 20 MiB and has its share of the limits of connections.
#ENV SIDECAR_HTTPS_WORKERS=1
# Connections of clients; more are closed. 0 for no limit.
#ENV SIDECAR_HTTPS_MAX_CONNECTIONS=3000
# Connections of one address, that of a PROXY header if there is one; 0 for no limit, because clients behind a balancer may share one.
#ENV SIDECAR_HTTPS_MAX_CONNECTIONS_PER_ADDRESS=0
# Connections to the application, WebSockets included; 0 for no limit. A request that needs one more gets 503.
#ENV SIDECAR_HTTPS_MAX_UPSTREAM_CONNECTIONS=4096
# Requests on one connection; 0 for no limit.
#ENV SIDECAR_HTTPS_MAX_REQUESTS=0
# Requests at a time on one connection of HTTP/2.
#ENV SIDECAR_HTTPS_MAX_STREAMS=100
# Where the admin API listens: health, readiness, metrics, parameters.
#ENV SIDECAR_HTTPS_ADMIN=0.0.0.0:9101
# How long work in hand may go on after SIGTERM before it is cut off.
#ENV SIDECAR_HTTPS_DRAIN=10s
# Least level that is logged.
#ENV SIDECAR_HTTPS_LOG_LEVEL=info
# One JSON object a line, or text for people.
#ENV SIDECAR_HTTPS_LOG_FORMAT=json

LABEL org.opencontainers.image.title='outrider/sidecar-https'
LABEL org.opencontainers.image.description='Terminates TLS in front of a plain-HTTP application in the same pod.'
LABEL org.opencontainers.image.version='0.1.0'
LABEL org.opencontainers.image.licenses='Apache-2.0'
LABEL io.outrider.definition='{"name":"sidecar-https","pattern":"sidecar","summary":"Terminates TLS in front of a plain-HTTP application in the same pod.","contract":["A certificate replaced on disk is served to new connections without dropping open ones.","A certificate or key that cannot be used never replaces a good one.","Without a certificate it serves a self-signed one and says so in the log, on the page and in /readyz.","Of many certificates each client gets the one for the name that it asks for.","A client without a certificate that the rules allow never reaches the application when certificates are required.","The application is told who a verified client is; what a client itself says about that is dropped.","The application sees X-Forwarded-For, -Proto, -Host and -Port of the connection; what a client sent under these names is dropped.","An application that is not up gets its clients a 502 at once, a slow one a 504 at the deadline.","WebSocket connections and streams pass in both directions, unbuffered.","A target outside the pod is refused unless it is asked for by name."],"params":[{"name":"listen","kind":"address","help":"Where to accept TLS connections.","variable":"SIDECAR_HTTPS_LISTEN","flag":"--listen","default":"0.0.0.0:8443"},{"name":"target","kind":"url","help":"The application to forward to.","variable":"SIDECAR_HTTPS_TARGET","flag":"--target","default":"http://127.0.0.1:8080","example":"http://127.0.0.1:8080"},{"name":"cert","kind":"path","help":"PEM file with the certificate and its chain.","variable":"SIDECAR_HTTPS_CERT","flag":"--cert","default":"/tls/tls.crt","reloads":true},{"name":"key","kind":"path","help":"PEM file with the private key.","variable":"SIDECAR_HTTPS_KEY","flag":"--key","default":"/tls/tls.key","reloads":true},{"name":"pkcs12","kind":"path","help":"PKCS#12 file with certificate, chain and key, in place of cert and key.","variable":"SIDECAR_HTTPS_PKCS12","flag":"--pkcs12","optional":true,"reloads":true},{"name":"pkcs12Password","kind":"text","help":"Password of the PKCS#12 files.","variable":"SIDECAR_HTTPS_PKCS12_PASSWORD","secret":true,"optional":true},{"name":"certs","kind":"path","help":"Directory of certificates, chosen by the name that the client asks for.","variable":"SIDECAR_HTTPS_CERTS","flag":"--certs","directory":true,"optional":true,"reloads":true},{"name":"strictNames","kind":"flag","help":"Refuse clients that ask for no name, or for one without a certificate.","variable":"SIDECAR_HTTPS_STRICT_NAMES","flag":"--strict-names","default":"false"},{"name":"redirect","kind":"address","help":"Where to answer plain HTTP with 308 to HTTPS.","variable":"SIDECAR_HTTPS_REDIRECT","flag":"--redirect","optional":true},{"name":"redirectTo","kind":"integer","help":"The port of HTTPS that redirected clients are sent to.","variable":"SIDECAR_HTTPS_REDIRECT_TO","flag":"--redirect-to","default":"443"},{"name":"hsts","kind":"text","help":"Value of Strict-Transport-Security on each response, such as max-age=31536000.","variable":"SIDECAR_HTTPS_HSTS","flag":"--hsts","optional":true},{"name":"clientAuth","kind":"off|optional|required","help":"Whether clients must show a certificate.","variable":"SIDECAR_HTTPS_CLIENT_AUTH","flag":"--client-auth","default":"off"},{"name":"clientCa","kind":"path","help":"PEM file with the authorities of client certificates.","variable":"SIDECAR_HTTPS_CLIENT_CA","flag":"--client-ca","optional":true,"reloads":true},{"name":"clientCrl","kind":"path","help":"PEM file with the revocation lists of these authorities.","variable":"SIDECAR_HTTPS_CLIENT_CRL","flag":"--client-crl","optional":true,"reloads":true},{"name":"allowAll","kind":"flag","help":"Let in every client whose certificate these authorities have issued.","variable":"SIDECAR_HTTPS_ALLOW_ALL","flag":"--allow-all","default":"false"},{"name":"allowCn","kind":"text,...","help":"Common names of clients that are let in.","variable":"SIDECAR_HTTPS_ALLOW_CN","flag":"--allow-cn","optional":true},{"name":"allowOu","kind":"text,...","help":"Organizational units of clients that are let in.","variable":"SIDECAR_HTTPS_ALLOW_OU","flag":"--allow-ou","optional":true},{"name":"allowDns","kind":"text,...","help":"DNS names of clients that are let in; *.example.com for one label.","variable":"SIDECAR_HTTPS_ALLOW_DNS","flag":"--allow-dns","optional":true},{"name":"allowUri","kind":"text,...","help":"URIs of clients that are let in, such as spiffe://example.org/ns/*/sa/web.","variable":"SIDECAR_HTTPS_ALLOW_URI","flag":"--allow-uri","optional":true},{"name":"allowIp","kind":"text,...","help":"IP addresses in certificates of clients that are let in.","variable":"SIDECAR_HTTPS_ALLOW_IP","flag":"--allow-ip","optional":true},{"name":"allowSpki","kind":"text,...","help":"SHA-256 of public keys of clients that are let in, base64 or hexadecimal.","variable":"SIDECAR_HTTPS_ALLOW_SPKI","flag":"--allow-spki","optional":true},{"name":"identityHeader","kind":"text","help":"Header that tells the application of a verified client.","variable":"SIDECAR_HTTPS_IDENTITY_HEADER","flag":"--identity-header","default":"X-Forwarded-Client-Cert","advanced":true},{"name":"mode","kind":"http|tcp","help":"tcp: take TLS off and pass the bytes, whatever their protocol.","variable":"SIDECAR_HTTPS_MODE","flag":"--mode","default":"http"},{"name":"http2","kind":"flag","help":"Offer HTTP/2.","variable":"SIDECAR_HTTPS_HTTP2","flag":"--http2","default":"true"},{"name":"trustedProxies","kind":"text,...","help":"Addresses or networks whose X-Forwarded- headers are believed.","variable":"SIDECAR_HTTPS_TRUSTED_PROXIES","flag":"--trusted-proxies","optional":true},{"name":"proxyProtocolFrom","kind":"text,...","help":"Addresses or networks whose connections begin with a PROXY header.","variable":"SIDECAR_HTTPS_PROXY_PROTOCOL_FROM","flag":"--proxy-protocol-from","optional":true},{"name":"proxyProtocolSend","kind":"flag","help":"Begin connections to the application with a PROXY header, version 2.","variable":"SIDECAR_HTTPS_PROXY_PROTOCOL_SEND","flag":"--proxy-protocol-send","default":"false"},{"name":"targetCa","kind":"path","help":"PEM file with the authorities of an https target; the common ones by default.","variable":"SIDECAR_HTTPS_TARGET_CA","flag":"--target-ca","optional":true,"reloads":true,"advanced":true},{"name":"targetName","kind":"text","help":"Name that the certificate of an https target must have; its host by default.","variable":"SIDECAR_HTTPS_TARGET_NAME","flag":"--target-name","optional":true,"advanced":true},{"name":"targetCert","kind":"path","help":"PEM file with the certificate that an https target is shown.","variable":"SIDECAR_HTTPS_TARGET_CERT","flag":"--target-cert","optional":true,"reloads":true,"advanced":true},{"name":"targetKey","kind":"path","help":"PEM file with the key of that certificate.","variable":"SIDECAR_HTTPS_TARGET_KEY","flag":"--target-key","optional":true,"reloads":true,"advanced":true},{"name":"unsafeTarget","kind":"flag","help":"Allow a plain target outside of this pod: everybody on the way can read and change it.","variable":"SIDECAR_HTTPS_UNSAFE_TARGET","flag":"--unsafe-target","default":"false","advanced":true},{"name":"minTls","kind":"1.2|1.3","help":"Oldest version of TLS.","variable":"SIDECAR_HTTPS_MIN_TLS","flag":"--min-tls","default":"1.2","advanced":true},{"name":"ciphers","kind":"text","help":"Ciphers in OpenSSL\u0027s notation; forward secrecy with AEAD by default.","variable":"SIDECAR_HTTPS_CIPHERS","flag":"--ciphers","optional":true,"advanced":true},{"name":"curves","kind":"text","help":"Curves in OpenSSL\u0027s notation, such as X25519:P-256.","variable":"SIDECAR_HTTPS_CURVES","flag":"--curves","optional":true,"advanced":true},{"name":"ticketKeys","kind":"path","help":"File of 48 bytes that servers share to resume each other\u0027s sessions.","variable":"SIDECAR_HTTPS_TICKET_KEYS","flag":"--ticket-keys","optional":true,"reloads":true,"advanced":true},{"name":"ticketRotation","kind":"duration","help":"How long keys of session tickets are used that are made here.","variable":"SIDECAR_HTTPS_TICKET_ROTATION","flag":"--ticket-rotation","default":"12h","advanced":true},{"name":"via","kind":"text","help":"Name under which it puts itself into Via.","variable":"SIDECAR_HTTPS_VIA","flag":"--via","optional":true,"advanced":true},{"name":"traceparent","kind":"pass|create","help":"create: give requests without a traceparent one.","variable":"SIDECAR_HTTPS_TRACEPARENT","flag":"--traceparent","default":"pass","advanced":true},{"name":"requestId","kind":"flag","help":"Give each request an X-Request-Id.","variable":"SIDECAR_HTTPS_REQUEST_ID","flag":"--request-id","default":"false","advanced":true},{"name":"accessLog","kind":"flag","help":"Log each request.","variable":"SIDECAR_HTTPS_ACCESS_LOG","flag":"--access-log","default":"false","advanced":true},{"name":"responseTimeout","kind":"duration","help":"How long the application may take until its response begins; then 504.","variable":"SIDECAR_HTTPS_RESPONSE_TIMEOUT","flag":"--response-timeout","default":"60s","advanced":true},{"name":"connectTimeout","kind":"duration","help":"How long connecting to the application may take; then 504.","variable":"SIDECAR_HTTPS_CONNECT_TIMEOUT","flag":"--connect-timeout","default":"5s","advanced":true},{"name":"handshakeTimeout","kind":"duration","help":"How long a TLS handshake may take.","variable":"SIDECAR_HTTPS_HANDSHAKE_TIMEOUT","flag":"--handshake-timeout","default":"10s","advanced":true},{"name":"headTimeout","kind":"duration","help":"How long the head of a request may take; then 408.","variable":"SIDECAR_HTTPS_HEAD_TIMEOUT","flag":"--head-timeout","default":"10s","advanced":true},{"name":"idleTimeout","kind":"duration","help":"How long a connection may be idle between requests.","variable":"SIDECAR_HTTPS_IDLE_TIMEOUT","flag":"--idle-timeout","default":"75s","advanced":true},{"name":"stallTimeout","kind":"duration","help":"How long a client may owe body bytes or take none of a response.","variable":"SIDECAR_HTTPS_STALL_TIMEOUT","flag":"--stall-timeout","default":"60s","advanced":true},{"name":"minBodyRate","kind":"integer","help":"Bytes a second that a client must send of a body, over the stall timeout; then 408.","variable":"SIDECAR_HTTPS_MIN_BODY_RATE","flag":"--min-body-rate","default":"240","advanced":true},{"name":"tcpIdleTimeout","kind":"duration","help":"With mode tcp: how long a connection may be silent.","variable":"SIDECAR_HTTPS_TCP_IDLE_TIMEOUT","flag":"--tcp-idle-timeout","default":"1h","advanced":true},{"name":"maxHead","kind":"bytes","help":"Size of the head of a request; then 431.","variable":"SIDECAR_HTTPS_MAX_HEAD","flag":"--max-head","default":"16KiB","advanced":true},{"name":"maxUri","kind":"bytes","help":"Length of the target of a request; then 414.","variable":"SIDECAR_HTTPS_MAX_URI","flag":"--max-uri","default":"8KiB","advanced":true},{"name":"maxHeaders","kind":"integer","help":"Headers of a request; then 431.","variable":"SIDECAR_HTTPS_MAX_HEADERS","flag":"--max-headers","default":"256","advanced":true},{"name":"maxBody","kind":"bytes","help":"Size of the body of a request; then 413. 0 for no limit: bodies are not kept in memory.","variable":"SIDECAR_HTTPS_MAX_BODY","flag":"--max-body","default":"0","advanced":true},{"name":"workers","kind":"integer","help":"Threads that serve; each costs about 20 MiB and has its share of the limits of connections.","variable":"SIDECAR_HTTPS_WORKERS","flag":"--workers","default":"1","advanced":true},{"name":"maxConnections","kind":"integer","help":"Connections of clients; more are closed. 0 for no limit.","variable":"SIDECAR_HTTPS_MAX_CONNECTIONS","flag":"--max-connections","default":"3000","advanced":true},{"name":"maxConnectionsPerAddress","kind":"integer","help":"Connections of one address, that of a PROXY header if there is one; 0 for no limit, because clients behind a balancer may share one.","variable":"SIDECAR_HTTPS_MAX_CONNECTIONS_PER_ADDRESS","flag":"--max-connections-per-address","default":"0","advanced":true},{"name":"maxUpstreamConnections","kind":"integer","help":"Connections to the application, WebSockets included; 0 for no limit. A request that needs one more gets 503.","variable":"SIDECAR_HTTPS_MAX_UPSTREAM_CONNECTIONS","flag":"--max-upstream-connections","default":"4096","advanced":true},{"name":"maxRequests","kind":"integer","help":"Requests on one connection; 0 for no limit.","variable":"SIDECAR_HTTPS_MAX_REQUESTS","flag":"--max-requests","default":"0","advanced":true},{"name":"maxStreams","kind":"integer","help":"Requests at a time on one connection of HTTP/2.","variable":"SIDECAR_HTTPS_MAX_STREAMS","flag":"--max-streams","default":"100","advanced":true},{"name":"admin","kind":"address","help":"Where the admin API listens: health, readiness, metrics, parameters.","variable":"SIDECAR_HTTPS_ADMIN","flag":"--admin","default":"0.0.0.0:9101"},{"name":"drain","kind":"duration","help":"How long work in hand may go on after SIGTERM before it is cut off.","variable":"SIDECAR_HTTPS_DRAIN","flag":"--drain","default":"10s"},{"name":"logLevel","kind":"debug|info|warn|error","help":"Least level that is logged.","variable":"SIDECAR_HTTPS_LOG_LEVEL","flag":"--log-level","default":"info","advanced":true,"shared":"LOG_LEVEL"},{"name":"logFormat","kind":"json|text","help":"One JSON object a line, or text for people.","variable":"SIDECAR_HTTPS_LOG_FORMAT","flag":"--log-format","default":"json","advanced":true,"shared":"LOG_FORMAT"}],"ports":{"https":"listen","redirect":"redirect"},"volumes":{"/tls":"Holds tls.crt and tls.key, for example a Kubernetes TLS Secret; while it is empty, a self-signed certificate is served."},"metrics":[{"name":"outrider_sidecar_https_requests_total","type":"counter","help":"Requests answered, by class of status and by outcome.","labels":["code","outcome"]},{"name":"outrider_sidecar_https_refusals_total","type":"counter","help":"Requests refused for what they are, by reason.","labels":["reason"]},{"name":"outrider_sidecar_https_request_duration_seconds","type":"histogram","help":"Time from the head of the request to the end of the response.","labels":[]},{"name":"outrider_sidecar_https_request_bytes_total","type":"counter","help":"Bytes of content that came from clients.","labels":[]},{"name":"outrider_sidecar_https_response_bytes_total","type":"counter","help":"Bytes of content that went to clients.","labels":[]},{"name":"outrider_sidecar_https_tunnels_total","type":"counter","help":"WebSocket and other upgraded connections that have ended.","labels":[]},{"name":"outrider_sidecar_https_pipes_total","type":"counter","help":"Connections of mode tcp that have ended, by outcome.","labels":["outcome"]},{"name":"outrider_sidecar_https_handshakes_total","type":"counter","help":"Connections of clients, by how they began; of those to the redirect, the refused ones alone.","labels":["outcome"]},{"name":"outrider_sidecar_https_open_connections","type":"gauge","help":"Connections of clients that are open, those to the redirect included.","labels":[]},{"name":"outrider_sidecar_https_requests_in_flight","type":"gauge","help":"Requests, upgraded connections and pipes being served.","labels":[]},{"name":"outrider_sidecar_https_certificate_not_after_seconds","type":"gauge","help":"When the first certificate served for a name ends, Unix time.","labels":["name"]},{"name":"outrider_sidecar_https_certificate_self_signed","type":"gauge","help":"Whether the served certificate was made at start: 1 or 0.","labels":[]},{"name":"outrider_sidecar_https_crl_next_update_seconds","type":"gauge","help":"When the first revocation list is out of date and no client is let in any more, Unix time.","labels":[]},{"name":"outrider_sidecar_https_config_last_reload_successful","type":"gauge","help":"Whether the last load of these files was taken: 1 or 0.","labels":["file"]},{"name":"outrider_sidecar_https_config_last_reload_timestamp_seconds","type":"gauge","help":"When these files were last taken, Unix time.","labels":["file"]},{"name":"outrider_sidecar_https_config_reloads_total","type":"counter","help":"Loads of these files, by result: taken or refused.","labels":["file","result"]}],"pages":{},"commands":{}}'

USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]
ENTRYPOINT ["/usr/bin/node","--max-semi-space-size=2","--v8-pool-size=1","/app/main.js"]
