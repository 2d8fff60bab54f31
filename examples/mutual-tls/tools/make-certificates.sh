#!/bin/sh
# Makes, each time anew, an authority, the certificate of the server and those of three clients, for a day. The key of the
# authority stays in the temporary directory of this container and ends with it.
#
#   /server   tls.crt, tls.key   the sidecar's own certificate
#             client-ca.crt      the authority of its clients
#   /clients  ca.crt             by which clients know the server
#             shop, reports, stranger, each .crt and .key
set -eu
authority=$(mktemp -d)

new_key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

# Arguments: path without extension, common name, purpose, alternative names.
issue() {
  new_key "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$2" |
    openssl x509 -req -CA "$authority/ca.crt" -CAkey "$authority/ca.key" -days 1 -out "$1.crt" \
      -extfile /dev/fd/3 3<<EXTENSIONS
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = $3
subjectAltName = $4
EXTENSIONS
}

new_key "$authority/ca.key"
openssl req -x509 -new -key "$authority/ca.key" -days 1 -subj '/CN=authority of an example' -out "$authority/ca.crt" \
  -addext 'basicConstraints = critical, CA:TRUE' -addext 'keyUsage = critical, keyCertSign, cRLSign'
cp "$authority/ca.crt" /server/client-ca.crt
cp "$authority/ca.crt" /clients/ca.crt

issue /server/tls app serverAuth 'DNS:app, DNS:localhost, IP:127.0.0.1'
# The user of the sidecar reads them.
chown 65532:65532 /server/*

issue /clients/shop shop clientAuth 'DNS:shop.example.com'
issue /clients/reports reports clientAuth 'URI:spiffe://example.org/ns/office/sa/reports'
issue /clients/stranger stranger clientAuth 'DNS:stranger.example.com'
