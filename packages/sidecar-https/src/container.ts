import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import {
  address,
  counter,
  defineContainer,
  duration,
  type FileContents,
  gauge,
  histogram,
  path,
  requireFile,
  StartError,
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
  *check({ target, cert, key }) {
    if (cert === key) yield `SIDECAR_HTTPS_CERT and SIDECAR_HTTPS_KEY name the same file: ${cert}`
    if (target.pathname !== '/' || target.search !== '' || target.username !== '') {
      yield 'SIDECAR_HTTPS_TARGET must be an origin, scheme, host and port alone, such as http://127.0.0.1:8080'
    }
  },
  async start({ params, given, metrics, onScrape, log, notice, follow }) {
    const selfSignedNotice = notice('certificate')
    let made = false
    let sidecar: HttpsSidecar | undefined

    const use = (pair: KeyPair): KeyPair => {
      const info = sidecar?.useCertificate(pair) ?? inspectKeyPair(pair)
      metrics.notAfter.set(info.notAfter.getTime() / 1000)
      metrics.selfSigned.set(made ? 1 : 0)
      const fields = { names: info.names, notAfter: info.notAfter, fingerprint: info.fingerprint256 }
      if (made)
        log.warn('SELF-SIGNED certificate in use, for development only: clients cannot verify it', fields)
      else log.info('certificate in use', fields)
      return pair
    }

    const load = (contents: FileContents): KeyPair => {
      const optional = !given('cert') && !given('key') && sidecar === undefined
      if (optional && !existsSync(params.cert) && !existsSync(params.key)) {
        made = true
        selfSignedNotice.set(
          `SELF-SIGNED, made at start: for development only. Mount a certificate at ${params.cert} and ${params.key}.`,
        )
        return use(selfSigned({ names: ownNames() }))
      }
      const pair = { cert: requireFile(contents, params.cert), key: requireFile(contents, params.key) }
      inspectKeyPair(pair)
      made = false
      selfSignedNotice.clear()
      return use(pair)
    }

    const certificate = await follow('certificate', [params.cert, params.key], (contents) => {
      try {
        return load(contents)
      } catch (error) {
        throw new StartError(
          `SIDECAR_HTTPS_CERT (--cert) and SIDECAR_HTTPS_KEY (--key): ${(error as Error).message}`,
        )
      }
    })
    sidecar = await startHttpsSidecar({
      listen: params.listen,
      target: params.target,
      certificate,
      responseTimeoutMs: params.responseTimeout,
      connectTimeoutMs: params.connectTimeout,
      onRequest: ({ status, durationMs, outcome }) => {
        metrics.requests.inc({ code: `${Math.floor(status / 100)}xx`, outcome })
        metrics.duration.observe(durationMs / 1000)
      },
      onTunnel: () => metrics.tunnels.inc(),
      onHandshakeError: () => metrics.handshakeErrors.inc(),
    })
    const { address: https } = sidecar
    const running = sidecar
    onScrape(() => {
      metrics.connections.set(running.openConnections)
      metrics.inFlight.set(running.inFlight)
    })
    return Object.assign(running, { addresses: { https } })
  },
})

/** What a self-signed certificate is for: this machine under the names by which people reach it. */
const ownNames = (): string[] => ['localhost', hostname(), '127.0.0.1', '::1']
