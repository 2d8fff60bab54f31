import { statSync } from 'node:fs'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import {
  address,
  counter,
  defineContainer,
  duration,
  gauge,
  histogram,
  path,
  requireFile,
  urlOf,
} from '@outrider/core'
import { type HttpsSidecar, inspectKeyPair, type KeyPair, selfSigned, startHttpsSidecar } from './index.ts'

export default defineContainer({
  name: 'sidecar-https',
  pattern: 'sidecar',
  summary: 'Terminates TLS in front of a plain-HTTP application in the same pod.',
  contract: [
    'A certificate replaced on disk is served to new connections without dropping open ones.',
    'A certificate or key that cannot be used never replaces a good one.',
    'Without a certificate it serves a self-signed one and says so in the log, on the page and in /readyz.',
    'The application sees X-Forwarded-For, -Proto, -Host and -Port of the connection; what a client sent under these names is dropped.',
    'An application that is not up gets its clients a 502 at once, a slow one a 504 at the deadline.',
    'WebSocket connections and streams pass in both directions, unbuffered.',
  ],
  admin: 9101,
  params: {
    listen: address('Where to accept TLS connections.', { default: '0.0.0.0:8443' }),
    target: urlOf('http')('The application to forward to.', {
      default: 'http://127.0.0.1:8080',
      example: 'http://127.0.0.1:8080',
    }),
    cert: path('PEM file with the certificate and its chain.', { default: '/tls/tls.crt', reloads: true }),
    key: path('PEM file with the private key.', { default: '/tls/tls.key', reloads: true }),
    responseTimeout: duration('How long the application may take until its response begins; then 504.', {
      default: '60s',
      advanced: true,
    }),
    connectTimeout: duration('How long connecting to the application may take; then 504.', {
      default: '5s',
      advanced: true,
    }),
  },
  ports: { https: 'listen' },
  volumes: { '/tls': 'Holds tls.crt and tls.key, for example a Kubernetes TLS Secret.' },
  metrics: {
    requests: counter('requests_total', 'Requests answered, by class of status and by outcome.', [
      'code',
      'outcome',
    ]),
    duration: histogram(
      'request_duration_seconds',
      'Time from the head of the request to the end of the response.',
      [],
      [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30],
    ),
    tunnels: counter('tunnels_total', 'WebSocket and other upgraded connections that have ended.'),
    handshakeErrors: counter('handshake_errors_total', 'TLS handshakes that failed.'),
    connections: gauge('open_connections', 'TLS connections that are open.'),
    inFlight: gauge('requests_in_flight', 'Requests and upgraded connections being served.'),
    notAfter: gauge('certificate_not_after_seconds', 'When the served certificate ends, Unix time.'),
    selfSigned: gauge('certificate_self_signed', 'Whether the served certificate was made at start: 1 or 0.'),
  },
  *check({ target, cert, key, responseTimeout, connectTimeout }, nameOf) {
    if (cert === key) yield `${nameOf('cert')} and ${nameOf('key')} name the same file: ${cert}`
    if (target.href !== `${target.origin}/`) {
      yield `${nameOf('target')} must be an origin, scheme, host and port alone, such as http://127.0.0.1:8080`
    }
    if (responseTimeout === 0)
      yield `${nameOf('responseTimeout')} must be more than 0: every request would fail`
    if (connectTimeout === 0)
      yield `${nameOf('connectTimeout')} must be more than 0: every request would fail`
  },
  async start({ params, given, metrics, onScrape, log, notice, follow }) {
    const remark = notice('certificate')
    let sidecar: HttpsSidecar | undefined
    let current: KeyPair | undefined

    const use = (pair: KeyPair, made: boolean): KeyPair => {
      const info = sidecar?.useCertificate(pair) ?? inspectKeyPair(pair)
      current = pair
      metrics.notAfter.set(info.notAfter.getTime() / 1000)
      metrics.selfSigned.set(made ? 1 : 0)
      const fields = { names: info.names, notAfter: info.notAfter, fingerprint: info.fingerprint256 }
      const ended = info.notAfter.getTime() < Date.now()
      if (made) {
        remark.set(
          `SELF-SIGNED, made at start: for development only. Mount a certificate at ${params.cert} and ${params.key}.`,
        )
        log.warn('SELF-SIGNED certificate in use, for development only: clients cannot verify it', fields)
      } else if (ended) {
        remark.set(`EXPIRED on ${info.notAfter.toISOString()}: clients refuse it`)
        log.warn('EXPIRED certificate in use: clients refuse it', fields)
      } else {
        remark.clear()
        log.info('certificate in use', fields)
      }
      return pair
    }

    const certificate = await follow('certificate', ['cert', 'key'], (contents) => {
      const optional = !given('cert') && !given('key') && current === undefined
      if (optional && isAbsent(params.cert) && isAbsent(params.key)) {
        return use(selfSigned({ names: ownNames() }), true)
      }
      return use({ cert: requireFile(contents, params.cert), key: requireFile(contents, params.key) }, false)
    })

    sidecar = await startHttpsSidecar({
      listen: params.listen,
      target: params.target,
      certificate,
      responseTimeoutMs: params.responseTimeout,
      connectTimeoutMs: params.connectTimeout,
      onRequest: ({ method, status, durationMs, outcome, error }) => {
        metrics.requests.inc({ code: `${Math.floor(status / 100)}xx`, outcome })
        metrics.duration.observe(durationMs / 1000)
        if (error !== undefined) log.debug('request not completed', { method, status, outcome, error })
      },
      onTunnel: () => metrics.tunnels.inc(),
      onHandshakeError: (error) => {
        metrics.handshakeErrors.inc()
        log.debug('handshake failed', { error })
      },
    })
    // A certificate that changed while the listener was being opened.
    if (current !== undefined) sidecar.useCertificate(current)
    const { address: https } = sidecar
    const running = sidecar
    onScrape(() => {
      metrics.connections.set(running.openConnections)
      metrics.inFlight.set(running.inFlight)
    })
    return Object.assign(running, { addresses: { https } })
  },
})

/** Nothing is there, as opposed to something that may not be read: only that may be answered by making a certificate. */
function isAbsent(path: string): boolean {
  try {
    statSync(path)
    return false
  } catch (error) {
    return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}

/** What a self-signed certificate is for: this machine under the names by which people reach it. */
const ownNames = (): string[] =>
  ['localhost', '127.0.0.1', '::1', hostname()].filter((name) => isServable(name))

/** Host names may be anything, names in certificates may not (RFC 1123). */
const isServable = (name: string): boolean =>
  isIP(name) > 0 || (/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?)+$/i.test(name) && !name.endsWith('.'))
