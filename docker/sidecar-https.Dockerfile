# Generated from packages/sidecar-https/src/container.ts by "npm run generate"; do not edit.
ARG BASE_IMAGE=outrider/base:latest
FROM $BASE_IMAGE
COPY sidecar-https/ /app/

# https
EXPOSE 8443
# admin
EXPOSE 9101

# Holds tls.crt and tls.key, for example a Kubernetes TLS Secret.
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
# How long the application may take until its response begins; then 504.
#ENV SIDECAR_HTTPS_RESPONSE_TIMEOUT=60s
# How long connecting to the application may take; then 504.
#ENV SIDECAR_HTTPS_CONNECT_TIMEOUT=5s
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
LABEL io.outrider.definition='{"name":"sidecar-https","pattern":"sidecar","summary":"Terminates TLS in front of a plain-HTTP application in the same pod.","contract":["A certificate replaced on disk is served to new connections without dropping open ones.","A certificate or key that cannot be used never replaces a good one.","Without a certificate it serves a self-signed one and says so in the log, on the page and in /readyz.","The application sees X-Forwarded-For, -Proto, -Host and -Port of the connection; what a client sent under these names is dropped.","An application that is not up gets its clients a 502 at once, a slow one a 504 at the deadline.","WebSocket connections and streams pass in both directions, unbuffered."],"params":[{"name":"listen","kind":"address","help":"Where to accept TLS connections.","variable":"SIDECAR_HTTPS_LISTEN","flag":"--listen","default":"0.0.0.0:8443"},{"name":"target","kind":"url","help":"The application to forward to.","variable":"SIDECAR_HTTPS_TARGET","flag":"--target","default":"http://127.0.0.1:8080","example":"http://127.0.0.1:8080"},{"name":"cert","kind":"path","help":"PEM file with the certificate and its chain.","variable":"SIDECAR_HTTPS_CERT","flag":"--cert","default":"/tls/tls.crt","reloads":true},{"name":"key","kind":"path","help":"PEM file with the private key.","variable":"SIDECAR_HTTPS_KEY","flag":"--key","default":"/tls/tls.key","reloads":true},{"name":"responseTimeout","kind":"duration","help":"How long the application may take until its response begins; then 504.","variable":"SIDECAR_HTTPS_RESPONSE_TIMEOUT","flag":"--response-timeout","default":"60s","advanced":true},{"name":"connectTimeout","kind":"duration","help":"How long connecting to the application may take; then 504.","variable":"SIDECAR_HTTPS_CONNECT_TIMEOUT","flag":"--connect-timeout","default":"5s","advanced":true},{"name":"admin","kind":"address","help":"Where the admin API listens: health, readiness, metrics, parameters.","variable":"SIDECAR_HTTPS_ADMIN","flag":"--admin","default":"0.0.0.0:9101"},{"name":"drain","kind":"duration","help":"How long work in hand may go on after SIGTERM before it is cut off.","variable":"SIDECAR_HTTPS_DRAIN","flag":"--drain","default":"10s"},{"name":"logLevel","kind":"debug|info|warn|error","help":"Least level that is logged.","variable":"SIDECAR_HTTPS_LOG_LEVEL","flag":"--log-level","default":"info","advanced":true,"shared":"LOG_LEVEL"},{"name":"logFormat","kind":"json|text","help":"One JSON object a line, or text for people.","variable":"SIDECAR_HTTPS_LOG_FORMAT","flag":"--log-format","default":"json","advanced":true,"shared":"LOG_FORMAT"}],"ports":{"https":"listen"},"volumes":{"/tls":"Holds tls.crt and tls.key, for example a Kubernetes TLS Secret."},"metrics":[{"name":"outrider_sidecar_https_requests_total","type":"counter","help":"Requests answered, by class of status and by outcome.","labels":["code","outcome"]},{"name":"outrider_sidecar_https_request_duration_seconds","type":"histogram","help":"Time from the head of the request to the end of the response.","labels":[]},{"name":"outrider_sidecar_https_tunnels_total","type":"counter","help":"WebSocket and other upgraded connections that have ended.","labels":[]},{"name":"outrider_sidecar_https_handshake_errors_total","type":"counter","help":"TLS handshakes that failed.","labels":[]},{"name":"outrider_sidecar_https_open_connections","type":"gauge","help":"TLS connections that are open.","labels":[]},{"name":"outrider_sidecar_https_requests_in_flight","type":"gauge","help":"Requests and upgraded connections being served.","labels":[]},{"name":"outrider_sidecar_https_certificate_not_after_seconds","type":"gauge","help":"When the served certificate ends, Unix time.","labels":[]},{"name":"outrider_sidecar_https_certificate_self_signed","type":"gauge","help":"Whether the served certificate was made at start: 1 or 0.","labels":[]},{"name":"outrider_sidecar_https_config_last_reload_successful","type":"gauge","help":"Whether the last load of these files was taken: 1 or 0.","labels":["file"]},{"name":"outrider_sidecar_https_config_last_reload_timestamp_seconds","type":"gauge","help":"When these files were last taken, Unix time.","labels":["file"]},{"name":"outrider_sidecar_https_config_reloads_total","type":"counter","help":"Loads of these files, by result: taken or refused.","labels":["file","result"]}]}'

USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]
ENTRYPOINT ["/usr/bin/node","/app/main.js"]
