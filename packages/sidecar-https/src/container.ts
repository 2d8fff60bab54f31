import { statSync } from 'node:fs'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { createSecureContext } from 'node:tls'
import {
  type Address,
  address,
  bytes,
  type Check,
  counter,
  defineContainer,
  duration,
  flag,
  gauge,
  histogram,
  integerBetween,
  isShared,
  kindOf,
  type LogFields,
  listOf,
  type Needs,
  oneOf,
  type Values as ParamValues,
  path,
  requireFile,
  secret,
  text,
  throttle,
  url,
} from '@outrider/core'
import {
  type AllowRules,
  addressMatcher,
  type CertificateInfo,
  type Certificates,
  type ClientAuthorities,
  checkAuthorities,
  compileAllow,
  type HandshakeReport,
  type HttpsSidecar,
  type HttpsSidecarOptions,
  type HttpsWorkersOptions,
  inspectKeyPair,
  type KeyPair,
  optionsOf,
  pairsIn,
  type Refusal,
  type RequestReport,
  readCrls,
  readPkcs12,
  refusalOf,
  type SidecarReports,
  type SidecarSettings,
  selfSigned,
  startHttpsSidecar,
  startRedirect,
  TICKET_KEY_BYTES,
} from './index.ts'

const MUST_BE_TARGET =
  'must be an origin, scheme, host and port alone, such as http://127.0.0.1:8080, https://app.internal:8443, ' +
  'tcp://127.0.0.1:5432 or unix:/run/app.sock'

const target = kindOf<URL>({
  ...url.kind,
  parse(value) {
    const parsed = URL.parse(value)
    const unix = parsed?.protocol === 'unix:' && parsed.pathname.startsWith('/')
    const origin = /^(https?|tcp):\/\/[^/?#@]+\/?$/.test(value)
    if (parsed === null || !(unix || origin)) throw new Error(MUST_BE_TARGET)
    return parsed
  },
})

const advanced = true
const optional = true
const reloads = true
const size = integerBetween(0, Number.MAX_SAFE_INTEGER)

const params = {
  listen: address('Where to accept TLS connections.', { default: '0.0.0.0:8443' }),
  target: target('The application to forward to.', {
    default: 'http://127.0.0.1:8080',
    example: 'http://127.0.0.1:8080',
  }),
  cert: path('PEM file with the certificate and its chain.', { default: '/tls/tls.crt', reloads }),
  key: path('PEM file with the private key.', { default: '/tls/tls.key', reloads }),
  pkcs12: path('PKCS#12 file with certificate, chain and key, in place of cert and key.', {
    optional,
    reloads,
  }),
  pkcs12Password: secret('Password of the PKCS#12 files.', { optional }),
  certs: path('Directory of certificates, chosen by the name that the client asks for.', {
    directory: true,
    optional,
    reloads,
  }),
  strictNames: flag('Refuse clients that ask for no name, or for one without a certificate.'),
  redirect: address('Where to answer plain HTTP with 308 to HTTPS.', { optional }),
  redirectTo: integerBetween(1, 65_535)('The port of HTTPS that redirected clients are sent to.', {
    default: '443',
  }),
  hsts: text('Value of Strict-Transport-Security on each response, such as max-age=31536000.', {
    optional,
  }),
  clientAuth: oneOf(
    'off',
    'optional',
    'required',
  )('Whether clients must show a certificate.', {
    default: 'off',
  }),
  clientCa: path('PEM file with the authorities of client certificates.', { optional, reloads }),
  clientCrl: path('PEM file with the revocation lists of these authorities.', { optional, reloads }),
  allowAll: flag('Let in every client whose certificate these authorities have issued.'),
  allowCn: listOf(text)('Common names of clients that are let in.', { optional }),
  allowOu: listOf(text)('Organizational units of clients that are let in.', { optional }),
  allowDns: listOf(text)('DNS names of clients that are let in; *.example.com for one label.', {
    optional,
  }),
  allowUri: listOf(text)('URIs of clients that are let in, such as spiffe://example.org/ns/*/sa/web.', {
    optional,
  }),
  allowIp: listOf(text)('IP addresses in certificates of clients that are let in.', { optional }),
  allowSpki: listOf(text)('SHA-256 of public keys of clients that are let in, base64 or hexadecimal.', {
    optional,
  }),
  identityHeader: text('Header that tells the application of a verified client.', {
    default: 'X-Forwarded-Client-Cert',
    advanced,
  }),
  mode: oneOf('http', 'tcp')('tcp: take TLS off and pass the bytes, whatever their protocol.', {
    default: 'http',
  }),
  http2: flag('Offer HTTP/2.', { default: 'true' }),
  trustedProxies: listOf(text)('Addresses or networks whose X-Forwarded- headers are believed.', {
    optional,
  }),
  proxyProtocolFrom: listOf(text)('Addresses or networks whose connections begin with a PROXY header.', {
    optional,
  }),
  proxyProtocolSend: flag('Begin connections to the application with a PROXY header, version 2.'),
  targetCa: path('PEM file with the authorities of an https target; the common ones by default.', {
    optional,
    reloads,
    advanced,
  }),
  targetName: text('Name that the certificate of an https target must have; its host by default.', {
    optional,
    advanced,
  }),
  targetCert: path('PEM file with the certificate that an https target is shown.', {
    optional,
    reloads,
    advanced,
  }),
  targetKey: path('PEM file with the key of that certificate.', { optional, reloads, advanced }),
  unsafeTarget: flag(
    'Allow a plain target outside of this pod: everybody on the way can read and change it.',
    {
      advanced,
    },
  ),
  minTls: oneOf('1.2', '1.3')('Oldest version of TLS.', { default: '1.2', advanced }),
  ciphers: text("Ciphers in OpenSSL's notation; forward secrecy with AEAD by default.", {
    optional,
    advanced,
  }),
  curves: text("Curves in OpenSSL's notation, such as X25519:P-256.", { optional, advanced }),
  ticketKeys: path(`File of ${TICKET_KEY_BYTES} bytes that servers share to resume each other's sessions.`, {
    optional,
    reloads,
    advanced,
  }),
  ticketRotation: duration('How long keys of session tickets are used that are made here.', {
    default: '12h',
    advanced,
  }),
  via: text('Name under which it puts itself into Via.', { optional, advanced }),
  traceparent: oneOf('pass', 'create')('create: give requests without a traceparent one.', {
    default: 'pass',
    advanced,
  }),
  requestId: flag('Give each request an X-Request-Id.', { advanced }),
  accessLog: flag('Log each request.', { advanced }),
  responseTimeout: duration('How long the application may take until its response begins; then 504.', {
    default: '60s',
    advanced,
  }),
  connectTimeout: duration('How long connecting to the application may take; then 504.', {
    default: '5s',
    advanced,
  }),
  handshakeTimeout: duration('How long a TLS handshake may take.', { default: '10s', advanced }),
  headTimeout: duration('How long the head of a request may take; then 408.', { default: '10s', advanced }),
  idleTimeout: duration('How long a connection may be idle between requests.', {
    default: '75s',
    advanced,
  }),
  stallTimeout: duration('How long a client may owe body bytes or take none of a response.', {
    default: '60s',
    advanced,
  }),
  minBodyRate: size('Bytes a second that a client must send of a body, over the stall timeout; then 408.', {
    default: '240',
    advanced,
  }),
  tcpIdleTimeout: duration('With mode tcp: how long a connection may be silent.', {
    default: '1h',
    advanced,
  }),
  maxHead: bytes('Size of the head of a request; then 431.', { default: '16KiB', advanced }),
  maxUri: bytes('Length of the target of a request; then 414.', { default: '8KiB', advanced }),
  maxHeaders: size('Headers of a request; then 431.', { default: '256', advanced }),
  maxBody: bytes('Size of the body of a request; then 413. 0 for no limit: bodies are not kept in memory.', {
    default: '0',
    advanced,
  }),
  workers: integerBetween(1, 64)(
    'Threads that serve; each costs about 20 MiB and has its share of the limits of connections.',
    { default: '1', advanced },
  ),
  maxConnections: size('Connections of clients; more are closed. 0 for no limit.', {
    default: '3000',
    advanced,
  }),
  maxConnectionsPerAddress: size(
    'Connections of one address, that of a PROXY header if there is one; 0 for no limit, because clients behind a balancer may share one.',
    { default: '0', advanced },
  ),
  maxUpstreamConnections: size(
    'Connections to the application, WebSockets included; 0 for no limit. A request that needs one more gets 503.',
    { default: '4096', advanced },
  ),
  maxRequests: size('Requests on one connection; 0 for no limit.', { default: '0', advanced }),
  maxStreams: integerBetween(1, 10_000)('Requests at a time on one connection of HTTP/2.', {
    default: '100',
    advanced,
  }),
} as const

type Values = ParamValues<typeof params>
type SidecarCheck = Check<typeof params>

/** Of a name each, so that one that is wrong by itself hides no other. */
const of = <N extends keyof typeof params>(
  names: readonly N[],
  check: (name: N, ...rest: Parameters<SidecarCheck>) => Iterable<string>,
): SidecarCheck[] =>
  names.map(
    (name) =>
      (...rest) =>
        check(name, ...rest),
  )

const LISTENERS = ['listen', 'redirect', 'admin'] as const

/** They mean nothing where the bytes are only passed on. */
const OF_HTTP = [
  'http2',
  'hsts',
  'via',
  'traceparent',
  'requestId',
  'trustedProxies',
  'identityHeader',
  'responseTimeout',
  'maxStreams',
  'maxUpstreamConnections',
] as const
/** These do for the redirect, too. */
const OF_ANY_HTTP = [
  'accessLog',
  'headTimeout',
  'idleTimeout',
  'stallTimeout',
  'minBodyRate',
  'maxHead',
  'maxUri',
  'maxHeaders',
  'maxBody',
  'maxRequests',
] as const

const checks: readonly SidecarCheck[] = [
  function* ({ workers, listen }, nameOf) {
    if (workers > 1 && 'path' in listen) {
      yield `${nameOf('workers')} must be 1 for a ${nameOf('listen')} of unix:, since threads cannot share a socket file`
    }
  },
  ...LISTENERS.map(
    (name): SidecarCheck =>
      function* (values, nameOf) {
        const { target } = values
        const own = values[name]
        if (own && leadsTo(target, own)) {
          yield `${nameOf('target')} is ${target.href}, where this sidecar itself listens as ${nameOf(name)}: set it to where the application does`
        }
      },
  ),
  function* ({ cert, key }, nameOf) {
    if (cert === key) yield `${nameOf('cert')} and ${nameOf('key')} name the same file: ${cert}`
  },
  ...of(['responseTimeout', 'connectTimeout'], function* (name, values, nameOf) {
    if (values[name] === 0) yield `${nameOf(name)} must be more than 0: every request would fail`
  }),
  ...of(
    ['handshakeTimeout', 'headTimeout', 'idleTimeout', 'stallTimeout', 'tcpIdleTimeout', 'ticketRotation'],
    function* (name, values, nameOf) {
      if (values[name] === 0) yield `${nameOf(name)} must be more than 0`
    },
  ),
  function* ({ target, mode }, nameOf) {
    if (target.protocol === 'tcp:' && mode === 'http') {
      yield `${nameOf('target')} has the scheme tcp, for which ${nameOf('mode')} must be tcp`
    }
  },
  function* ({ target, unsafeTarget }, nameOf) {
    const { protocol, hostname: host } = target
    if (['http:', 'tcp:'].includes(protocol) && !isLoopback(host) && !unsafeTarget) {
      yield `${nameOf('target')} is ${host}, outside of this pod, where everybody on the way could read and change what goes to it: use a loopback address, unix: or https:, or set ${nameOf('unsafeTarget')}`
    }
  },
  ...of(['targetCa', 'targetName', 'targetCert', 'targetKey'], function* (name, values, nameOf) {
    if (values[name] !== undefined && values.target.protocol !== 'https:') {
      yield `${nameOf(name)} is for a target of https, and ${nameOf('target')} is ${values.target.href}`
    }
  }),
  function* ({ targetCert, targetKey }, nameOf) {
    if ((targetCert === undefined) !== (targetKey === undefined)) {
      yield `${nameOf('targetCert')} and ${nameOf('targetKey')} go together: set both or none`
    }
  },
  ...of(['clientCa', 'clientCrl'], function* (name, values, nameOf) {
    if (values.clientAuth === 'off' && values[name] !== undefined) {
      yield `${nameOf(name)} has no effect while ${nameOf('clientAuth')} is off: set it to required or optional`
    }
  }),
  function* (values, nameOf) {
    const isOff = values.clientAuth === 'off'
    const rules = allowRules(values)
    const hasRules = Object.keys(rules).length > 0
    if (isOff && hasRules) {
      yield `rules that let clients in have no effect while ${nameOf('clientAuth')} is off: set it to required or optional`
    }
    if (isOff) return
    if (!hasRules) {
      yield `${nameOf('clientAuth')} needs a rule that says who is let in: set ${nameOf('allowAll')}, ${nameOf('allowCn')}, ${nameOf('allowDns')}, ${nameOf('allowUri')} or another of these`
      return
    }
    const allow = compiled(() => compileAllow(rules))
    if (allow instanceof Error) yield allow.message
    else if (allow.needsChain && values.clientCa === undefined) {
      yield `${nameOf('clientCa')} must be set: without authorities only ${nameOf('allowSpki')} says anything of a client`
    }
  },
  function* ({ ticketKeys, clientAuth }, nameOf) {
    if (clientAuth !== 'off' && ticketKeys !== undefined) {
      yield `${nameOf('ticketKeys')} and ${nameOf('clientAuth')} exclude each other: a session that another server began would outlive a revoked certificate`
    }
  },
  function* ({ clientCrl, clientCa }, nameOf) {
    if (clientCrl !== undefined && clientCa === undefined) {
      yield `${nameOf('clientCrl')} needs ${nameOf('clientCa')}, whose certificates it revokes`
    }
  },
  ...of(['trustedProxies', 'proxyProtocolFrom'], function* (name, values, nameOf) {
    const networks = values[name] ?? []
    const matcher = compiled(() => addressMatcher(networks))
    if (matcher instanceof Error) yield `${nameOf(name)}: ${matcher.message}`
  }),
  function* ({ identityHeader }, nameOf) {
    if (!/^[A-Za-z0-9-]+$/.test(identityHeader) || TAKEN_HEADER.test(identityHeader)) {
      yield `${nameOf('identityHeader')} is ${JSON.stringify(identityHeader)}, and must be letters, digits and dashes, and no header that requests have anyway`
    }
  },
  ...of(['ciphers', 'curves'], function* (name, values, nameOf) {
    const value = values[name]
    if (value === undefined) return
    const options = name === 'ciphers' ? { ciphers: value } : { ecdhCurve: value }
    if (compiled(() => createSecureContext(options)) instanceof Error) {
      yield `${nameOf(name)} is ${JSON.stringify(value)}, of which OpenSSL knows nothing`
    }
  }),
  ...of(['hsts', 'via'], function* (name, values, nameOf) {
    if (!/^[ -~]*$/.test(values[name] ?? '')) yield `${nameOf(name)} must be printable ASCII`
  }),
  function* ({ hsts }, nameOf) {
    // RFC 6797, 6.1: browsers ignore the header without it.
    if (hsts !== undefined && !/(^|;)\s*max-age\s*=\s*(\d+|"\d+")\s*(;|$)/i.test(hsts)) {
      yield `${nameOf('hsts')} is ${JSON.stringify(hsts)}, and must have the seconds that it holds, such as max-age=31536000`
    }
  },
  ...of(OF_HTTP, function* (name, values, nameOf, given) {
    if (values.mode === 'tcp' && given(name) && values[name] !== false) {
      yield `${nameOf(name)} has no effect while ${nameOf('mode')} is tcp: remove it, or set that to http`
    }
  }),
  ...of(OF_ANY_HTTP, function* (name, values, nameOf, given) {
    if (values.mode === 'tcp' && values.redirect === undefined && given(name) && values[name] !== false) {
      yield `${nameOf(name)} has no effect while ${nameOf('mode')} is tcp and there is no ${nameOf('redirect')}: remove it, or set the first to http`
    }
  }),
]

/** What they are read from by default. */
const TLS_VOLUME = '/tls'

/** About what a process takes, a thread more, and a connection while it is in use. */
const MEMORY = { processMiB: 64, workerMiB: 20, connectionKiB: 64 }

function needs(values: Values): Needs {
  const { maxConnections, workers, pkcs12, certs, cert, key } = values
  const connections = maxConnections === 0 ? Number.POSITIVE_INFINITY : maxConnections
  const isElsewhere = [cert, key].every((file) => !file.startsWith(`${TLS_VOLUME}/`))
  return {
    memory:
      MEMORY.processMiB + (workers - 1) * MEMORY.workerMiB + (connections * MEMORY.connectionKiB) / 1024,
    unread: pkcs12 !== undefined || certs !== undefined || isElsewhere ? [TLS_VOLUME] : [],
  }
}

export default defineContainer({
  name: 'sidecar-https',
  pattern: 'sidecar',
  summary: 'Terminates TLS in front of a plain-HTTP application in the same pod.',
  contract: [
    'A certificate replaced on disk is served to new connections without dropping open ones.',
    'A certificate or key that cannot be used never replaces a good one.',
    'Without a certificate it serves a self-signed one and says so in the log, on the page and in /readyz.',
    'Of many certificates each client gets the one for the name that it asks for.',
    'A client without a certificate that the rules allow never reaches the application when certificates are required.',
    'The application is told who a verified client is; what a client itself says about that is dropped.',
    'The application sees X-Forwarded-For, -Proto, -Host and -Port of the connection; what a client sent under these names is dropped.',
    'An application that is not up gets its clients a 502 at once, a slow one a 504 at the deadline.',
    'WebSocket connections and streams pass in both directions, unbuffered.',
    'A target outside the pod is refused unless it is asked for by name.',
  ],
  admin: 9101,
  params,
  ports: { https: 'listen', redirect: 'redirect' },
  volumes: {
    [TLS_VOLUME]:
      'Holds tls.crt and tls.key, for example a Kubernetes TLS Secret; while it is empty, a self-signed certificate is served.',
  },
  metrics: {
    requests: counter('requests_total', 'Requests answered, by class of status and by outcome.', [
      'code',
      'outcome',
    ]),
    refusals: counter('refusals_total', 'Requests refused for what they are, by reason.', ['reason']),
    duration: histogram(
      'request_duration_seconds',
      'Time from the head of the request to the end of the response.',
      [],
      [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30],
    ),
    requestBytes: counter('request_bytes_total', 'Bytes of content that came from clients.'),
    responseBytes: counter('response_bytes_total', 'Bytes of content that went to clients.'),
    tunnels: counter('tunnels_total', 'WebSocket and other upgraded connections that have ended.'),
    pipes: counter('pipes_total', 'Connections of mode tcp that have ended, by outcome.', ['outcome']),
    handshakes: counter(
      'handshakes_total',
      'Connections of clients, by how they began; of those to the redirect, the refused ones alone.',
      ['outcome'],
    ),
    connections: gauge(
      'open_connections',
      'Connections of clients that are open, those to the redirect included.',
    ),
    inFlight: gauge('requests_in_flight', 'Requests, upgraded connections and pipes being served.'),
    notAfter: gauge(
      'certificate_not_after_seconds',
      'When the first certificate served for a name ends, Unix time.',
      ['name'],
    ),
    selfSigned: gauge('certificate_self_signed', 'Whether the served certificate was made at start: 1 or 0.'),
    crlNextUpdate: gauge(
      'crl_next_update_seconds',
      'When the first revocation list is out of date and no client is let in any more, Unix time.',
    ),
  },
  checks,
  needs,
  async start(context) {
    const { params, given, metrics, onScrape, log, notice, follow, followDirectory } = context
    const remark = notice('certificate')
    const crlRemark = notice('revocation lists')
    let sidecar: HttpsSidecar | undefined
    let selfMade = false
    let served: readonly CertificateInfo[] = []
    let listsEnd = Number.POSITIVE_INFINITY

    const judgeTimes = (): void => {
      const ended = served.filter(({ notAfter }) => notAfter.getTime() < Date.now())
      if (selfMade) {
        remark.set(
          `SELF-SIGNED, made at start: for development only. Mount a certificate at ${params.cert} and ${params.key}.`,
        )
      } else if (ended.length > 0) {
        const which = ended.map(({ names, notAfter }) => `${names[0]} EXPIRED on ${notAfter.toISOString()}`)
        remark.set(`${which.join(', ')}: clients refuse it`)
      } else {
        remark.clear()
      }
      if (listsEnd < Date.now()) {
        crlRemark.set(
          'a revocation list is out of date, so that no client of its authority is let in: renew it',
        )
      } else {
        crlRemark.clear()
      }
    }

    const shown = (infos: readonly CertificateInfo[]): void => {
      metrics.notAfter.reset()
      const ends = new Map<string, number>()
      for (const { names, subject, notAfter } of infos) {
        const end = notAfter.getTime() / 1000
        for (const name of names.length > 0 ? names : [subject]) {
          ends.set(name, Math.min(end, ends.get(name) ?? end))
        }
      }
      for (const [name, end] of ends) metrics.notAfter.set({ name }, end)
      metrics.selfSigned.set(selfMade ? 1 : 0)
      for (const { names, notAfter, fingerprint256: fingerprint } of infos) {
        const fields = { names, notAfter, fingerprint }
        if (selfMade)
          log.warn('SELF-SIGNED certificate in use, for development only: clients cannot verify it', fields)
        else if (notAfter.getTime() < Date.now())
          log.warn('EXPIRED certificate in use: clients refuse it', fields)
        else log.info('certificate in use', fields)
      }
      served = infos
      judgeTimes()
    }

    // What changes before the sidecar has started is given to it at its start; what changes later, when it changes.
    let certificates: Certificates = {}
    let authorities: ClientAuthorities = {}
    const take = (change: Certificates): void => {
      sidecar?.useCertificates(change)
      certificates = { ...certificates, ...change }
    }
    if (params.certs !== undefined) {
      await followDirectory('certificates', 'certs', (files) => {
        const named = pairsIn(files, params.pkcs12Password)
        if (named.length === 0) throw new Error('there is no certificate in it')
        for (const pair of named) checked(pair)
        take({ named })
      })
    }
    const ownPair = params.pkcs12 !== undefined || given('cert') || given('key')
    if (params.pkcs12 !== undefined) {
      const { pkcs12 } = params
      await follow('certificate', ['pkcs12'], (contents) => {
        take({ fallback: checked(readPkcs12(requireFile(contents, pkcs12), params.pkcs12Password)) })
      })
    } else if (ownPair || params.certs === undefined || !isAbsent(params.cert)) {
      await follow('certificate', ['cert', 'key'], (contents) => {
        if (
          !ownPair &&
          certificates.fallback === undefined &&
          isAbsent(params.cert) &&
          isAbsent(params.key)
        ) {
          selfMade = true
          take({ fallback: selfSigned({ names: ownNames() }) })
          return
        }
        const pair = { cert: requireFile(contents, params.cert), key: requireFile(contents, params.key) }
        checked(pair)
        const before = selfMade
        selfMade = false
        try {
          take({ fallback: pair })
        } catch (error) {
          selfMade = before
          throw error
        }
      })
    }
    if (params.clientAuth !== 'off') {
      const files = (['clientCa', 'clientCrl'] as const).filter((name) => params[name] !== undefined)
      if (files.length > 0) {
        await follow('client authorities', files, (contents) => {
          const { clientCa, clientCrl } = params
          const crls = clientCrl === undefined ? [] : readCrls(requireFile(contents, clientCrl))
          const ca = clientCa === undefined ? undefined : requireFile(contents, clientCa).toString()
          if (ca !== undefined) checkAuthorities(ca)
          const next = {
            ca,
            crls: crls.map(({ pem }) => pem),
          }
          sidecar?.useAuthorities(next)
          authorities = next
          const ends = crls.flatMap(({ nextUpdate }) =>
            nextUpdate === undefined ? [] : [nextUpdate.getTime()],
          )
          listsEnd = Math.min(...ends)
          if (ends.length > 0) metrics.crlNextUpdate.set(listsEnd / 1000)
          judgeTimes()
        })
      }
    }
    let targetTls: HttpsSidecarOptions['targetTls'] = {}
    const targetFiles = (['targetCa', 'targetCert', 'targetKey'] as const).filter(
      (name) => params[name] !== undefined,
    )
    if (params.target.protocol === 'https:') {
      const name = params.targetName
      targetTls = { ...(name !== undefined && { name }) }
      if (targetFiles.length > 0) {
        await follow('target TLS', targetFiles, (contents) => {
          const { targetCa, targetCert, targetKey } = params
          const next = {
            ...(name !== undefined && { name }),
            ...(targetCa !== undefined && { ca: requireFile(contents, targetCa) }),
            ...(targetCert !== undefined && { cert: requireFile(contents, targetCert) }),
            ...(targetKey !== undefined && { key: requireFile(contents, targetKey) }),
          }
          if (next.ca !== undefined) checkAuthorities(next.ca)
          if (next.cert !== undefined && next.key !== undefined) checked({ cert: next.cert, key: next.key })
          sidecar?.useTargetTls(next)
          targetTls = next
        })
      }
    }
    let ticketKeys: Buffer | undefined
    if (params.ticketKeys !== undefined) {
      const file = params.ticketKeys
      await follow('ticket keys', ['ticketKeys'], (contents) => {
        const keys = requireFile(contents, file)
        if (keys.length !== TICKET_KEY_BYTES) {
          throw new Error(
            `${file} must have ${TICKET_KEY_BYTES} bytes: make it with openssl rand ${TICKET_KEY_BYTES}`,
          )
        }
        sidecar?.useTicketKeys(keys)
        ticketKeys = keys
      })
    }

    const limits = {
      headMs: params.headTimeout,
      idleMs: params.idleTimeout,
      stallMs: params.stallTimeout,
      handshakeMs: params.handshakeTimeout,
      pipeIdleMs: params.tcpIdleTimeout,
      minBodyRate: params.minBodyRate,
      headBytes: params.maxHead,
      uriBytes: params.maxUri,
      headerCount: params.maxHeaders,
      bodyBytes: params.maxBody || Number.POSITIVE_INFINITY,
      connections: params.maxConnections || Number.POSITIVE_INFINITY,
      connectionsPerAddress: params.maxConnectionsPerAddress || Number.POSITIVE_INFINITY,
      upstreamConnections: params.maxUpstreamConnections || Number.POSITIVE_INFINITY,
      requestsPerConnection: params.maxRequests || Number.POSITIVE_INFINITY,
      streams: params.maxStreams,
    }
    const requests = new RequestTally()
    const warning = (msg: string, counted: string) =>
      throttle<LogFields>(WARN_EVERY_MS, (fields, count, overMs) => {
        const over = overMs === undefined ? {} : { seconds: Math.round(overMs / 1000) }
        log.warn(msg, { ...fields, [counted]: count, ...over })
      })
    const work = params.mode === 'tcp' ? 'connections' : 'requests'
    const unreachable = warning('application unreachable', work)
    const failing = warning('application failed', work)
    const slow = warning('application too slow', work)
    const crowded = warning('connections refused', 'connections')
    const warnings = [unreachable, failing, slow, crowded]
    const onRefusedConnection = ({ outcome, address, error }: HandshakeReport): void => {
      if (outcome === 'too-many') crowded.add({ outcome, address, error })
    }
    const onRequest = (report: RequestReport): void => {
      requests.add(report)
      const { outcome, error } = report
      if (outcome === 'upstream-timeout') slow.add({ error })
      else if (outcome === 'upstream-failed') (isUnreached(error) ? unreachable : failing).add({ error })
      metrics.duration.observe(report.durationMs / 1000)
      if (params.accessLog) log.info('request', logged(report))
      else if (report.error !== undefined) log.debug('request not completed', logged(report))
    }
    const settings: SidecarSettings = {
      listen: params.listen,
      target: params.target.href,
      mode: params.mode,
      http2: params.http2,
      ...(certificates.fallback && { certificate: certificates.fallback }),
      ...(certificates.named && { certificates: certificates.named }),
      strictNames: params.strictNames,
      minVersion: params.minTls === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
      ciphers: params.ciphers,
      curves: params.curves,
      ticketKeys,
      ticketRotationMs: params.ticketRotation,
      ...(params.clientAuth !== 'off' && {
        clientAuth: { mode: params.clientAuth, allow: allowRules(params), ...authorities },
      }),
      identityHeader: params.identityHeader,
      responseTimeoutMs: params.responseTimeout,
      connectTimeoutMs: params.connectTimeout,
      targetTls,
      ...(params.proxyProtocolFrom && { proxyFrom: params.proxyProtocolFrom }),
      proxySend: params.proxyProtocolSend,
      ...(params.trustedProxies && { trusted: params.trustedProxies }),
      ...(params.hsts !== undefined && { hsts: params.hsts }),
      ...(params.via !== undefined && { via: params.via }),
      createTraceparent: params.traceparent === 'create',
      createRequestId: params.requestId,
      limits,
    }
    const reports: SidecarReports = {
      onRequest,
      onTunnel: () => metrics.tunnels.inc(),
      onPipe: ({ outcome, error, bytesFromClient, bytesToClient }) => {
        metrics.pipes.inc({ outcome })
        metrics.requestBytes.inc(bytesFromClient)
        metrics.responseBytes.inc(bytesToClient)
        if (outcome === 'connect-failed') unreachable.add({ error })
        if (error !== undefined) log.debug('connection not carried to its end', { outcome, error })
      },
      onHandshake: (report) => {
        const { outcome, address, error } = report
        metrics.handshakes.inc({ outcome })
        onRefusedConnection(report)
        if (outcome === 'denied') log.info('client denied', { address, error })
        else if (outcome === 'bad-certificate') log.info('client certificate refused', { address, error })
        else if (error !== undefined) log.debug('handshake failed', { outcome, address, error })
      },
      onCertificates: shown,
    }
    sidecar = await (params.workers === 1
      ? startHttpsSidecar({ ...optionsOf(settings), ...reports })
      : startThreads({ ...settings, ...reports }, params.workers))
    const running = sidecar
    // What changed while the listener was being opened.
    running.useCertificates(certificates)
    if (params.clientAuth !== 'off') running.useAuthorities(authorities)
    if (targetFiles.length > 0) running.useTargetTls(targetTls)
    if (ticketKeys !== undefined) running.useTicketKeys(ticketKeys)
    const redirect =
      params.redirect &&
      (await startRedirect({
        listen: params.redirect,
        httpsPort: params.redirectTo,
        ...(params.proxyProtocolFrom && { proxyFrom: addressMatcher(params.proxyProtocolFrom) }),
        limits,
        onRequest,
        onRefused: (report) => {
          const { outcome, address, error } = report
          metrics.handshakes.inc({ outcome })
          onRefusedConnection(report)
          log.debug('connection to the redirect refused', { outcome, address, error })
        },
      }).catch(async (error: unknown) => {
        await running[Symbol.asyncDispose]()
        throw error
      }))
    onScrape(() => {
      metrics.connections.set(running.openConnections + (redirect?.openConnections ?? 0))
      metrics.inFlight.set(running.inFlight)
      requests.flush(
        (code, outcome, count) => metrics.requests.inc({ code, outcome }, count),
        (reason, count) => metrics.refusals.inc({ reason }, count),
        (bytesIn, bytesOut) => {
          metrics.requestBytes.inc(bytesIn)
          metrics.responseBytes.inc(bytesOut)
        },
      )
    })
    // What is good when it is loaded may end while it is used.
    const clock = setInterval(judgeTimes, JUDGE_MS).unref()
    return {
      addresses: { https: running.address, ...(redirect && { redirect: redirect.address }) },
      drain: async () => void (await Promise.all([running.drain(), redirect?.drain()])),
      [Symbol.asyncDispose]: async () => {
        clearInterval(clock)
        for (const each of warnings) each[Symbol.dispose]()
        await Promise.all([running[Symbol.asyncDispose](), redirect?.[Symbol.asyncDispose]()])
      },
    }
  },
})

/** Loaded only by those who want threads. */
async function startThreads(options: HttpsWorkersOptions, count: number): Promise<HttpsSidecar> {
  const { startHttpsWorkers } = await import('./workers.ts')
  return startHttpsWorkers(options, count)
}

/** At most so often the log has a warning of each kind. */
const WARN_EVERY_MS = 10_000

const UNREACHED = [
  'ECONNREFUSED',
  'ENOENT',
  'EACCES',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]

/** Whether nobody was there at all. */
const isUnreached = (error: Error | undefined): boolean =>
  error !== undefined && 'code' in error && UNREACHED.includes(String(error.code))

/** How often the ends of certificates and lists are looked at. */
const JUDGE_MS = 10_000

/** Counts requests between two scrapes: a labelled counter costs a tenth of what forwarding a request does. */
class RequestTally {
  /** By outcome, then by class of status. */
  readonly #counts = new Map<string, number[]>()
  readonly #refusals = new Map<Refusal, number>()
  #bytesIn = 0
  #bytesOut = 0

  add({ status, outcome, bytesIn, bytesOut }: RequestReport): void {
    let classes = this.#counts.get(outcome)
    if (classes === undefined) {
      classes = CLASSES.map(() => 0)
      this.#counts.set(outcome, classes)
    }
    const index = status < 600 ? Math.floor(status / 100) : 0
    classes[index] = (classes[index] ?? 0) + 1
    if (outcome === 'refused') {
      const reason = refusalOf(status)
      this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1)
    }
    this.#bytesIn += bytesIn
    this.#bytesOut += bytesOut
  }

  flush(
    request: (code: string, outcome: string, count: number) => void,
    refusal: (reason: Refusal, count: number) => void,
    content: (bytesIn: number, bytesOut: number) => void,
  ): void {
    for (const [outcome, classes] of this.#counts) {
      for (const [index, count] of classes.entries()) {
        if (count > 0) request(CLASSES[index] ?? 'other', outcome, count)
      }
    }
    for (const [reason, count] of this.#refusals) refusal(reason, count)
    content(this.#bytesIn, this.#bytesOut)
    this.#counts.clear()
    this.#refusals.clear()
    this.#bytesIn = 0
    this.#bytesOut = 0
  }
}

/** In these an identity would break the request, or be broken by it. */
const TAKEN_HEADER =
  /^(host|connection|keep-alive|te|trailer|upgrade|expect|via|date|cookie|authorization|forwarded|(content|transfer|accept|proxy|x-forwarded-(for|host|port|proto))(-.*)?)$/i

const CLASSES = ['other', '1xx', '2xx', '3xx', '4xx', '5xx']

function logged(report: RequestReport): Record<string, unknown> {
  const { method, target, version, status, durationMs, bytesIn, bytesOut, outcome, error } = report
  const { clientAddress: client, forwardedFor, traceparent, requestId } = report
  return {
    client,
    ...(forwardedFor !== undefined && { forwardedFor }),
    method,
    // What follows it is where careless applications put their tokens.
    path: target.replace(/\?.*$/s, '?...'),
    version,
    status,
    durationMs: Math.round(durationMs * 100) / 100,
    bytesIn,
    bytesOut,
    outcome,
    ...(outcome === 'refused' && { reason: refusalOf(status) }),
    ...(error && { error }),
    ...(traceparent !== undefined && { traceparent }),
    ...(requestId !== undefined && { requestId }),
  }
}

interface AllowParams {
  readonly allowAll: boolean
  readonly allowCn: readonly string[] | undefined
  readonly allowOu: readonly string[] | undefined
  readonly allowDns: readonly string[] | undefined
  readonly allowUri: readonly string[] | undefined
  readonly allowIp: readonly string[] | undefined
  readonly allowSpki: readonly string[] | undefined
}

function allowRules(params: AllowParams): AllowRules {
  return {
    ...(params.allowAll && { all: true }),
    ...(params.allowCn && { cn: [...params.allowCn] }),
    ...(params.allowOu && { ou: [...params.allowOu] }),
    ...(params.allowDns && { dns: [...params.allowDns] }),
    ...(params.allowUri && { uri: [...params.allowUri] }),
    ...(params.allowIp && { ip: [...params.allowIp] }),
    ...(params.allowSpki && { spki: [...params.allowSpki] }),
  }
}

function compiled<T>(compile: () => T): T | Error {
  try {
    return compile()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function checked(pair: KeyPair): KeyPair {
  inspectKeyPair(pair)
  return pair
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)

/** Whether the target is the sidecar itself: each request would come back, until nothing is left. */
function leadsTo({ protocol, hostname: host, port, pathname }: URL, own: Address): boolean {
  if ('path' in own) return protocol === 'unix:' && pathname === own.path
  const plain = host.replace(/^\[|\]$/g, '')
  const other = Number(port || { 'http:': 80, 'https:': 443 }[protocol])
  // Connecting to "all addresses" is connecting to loopback. Another machine may have the same port.
  const isHere = isLoopback(host) || ['0.0.0.0', '::'].includes(plain) || plain === own.host
  return isHere && isShared({ host: plain, port: other }, own)
}

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
