import type { Identity } from './identity.ts'

/**
 * The element for this client of an `X-Forwarded-Client-Cert` header, in Envoy's format:
 * `Hash=<SHA-256, hexadecimal>;Subject="CN=client,OU=payments";URI=spiffe://a/b;DNS=a.test;DNS=b.test`. `By` is left
 * out; `Subject` is always there and always quoted; `URI` and `DNS` are there once for each such name.
 *
 * Always one element of printable ASCII, whatever the names are. A value is quoted when it has one of `,;=` in it.
 * Envoy would write a quote inside it as `\"`, which its readers do not agree on; here no value holds a quote or ends
 * with a backslash. A quote, a backslash, a space or anything but printable ASCII is percent-encoded in a URI or DNS
 * name, where none of them belongs (RFC 3986 2, RFC 1123 2.1); the subject already has its own escapes (RFC 4514).
 * It may be as long as the names in the certificate make it.
 *
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
 */
export function xfcc({ fingerprint256, subject, uris, dns }: Identity): string {
  return [
    `Hash=${fingerprint256}`,
    `Subject="${subject.replace(/[^ !#-~]|\\$/gu, (character) => hexadecimal(character, '\\'))}"`,
    ...uris.map((uri) => `URI=${quoted(uri)}`),
    ...dns.map((name) => `DNS=${quoted(name)}`),
  ].join(';')
}

function quoted(name: string): string {
  const plain = name.replace(/[^!#-[\]-~]/gu, (character) => hexadecimal(character, '%'))
  return /[,;=]/.test(plain) ? `"${plain}"` : plain
}

const hexadecimal = (character: string, mark: '%' | '\\'): string =>
  Buffer.from(character)
    .toString('hex')
    .toUpperCase()
    .replace(/../g, (digits) => mark + digits)
