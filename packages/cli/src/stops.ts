import { request } from 'node:https'
import type { TLSSocket } from 'node:tls'
import type { Container } from '@outrider/core'

/** One container's part of the tour. */
export interface Stop {
  /** Flags that put it in front of `target`, listening on free ports of loopback. */
  flags(target: URL): string[]
  /** The URL to show, from where the container listens. */
  url(addresses: Readonly<Record<string, string>>): URL
  /** Makes a real request; resolves with what was seen, rejects with what was wrong. */
  visit(url: URL): Promise<string>
  tryIt(url: URL): string
  /** How to have the same in front of one's own application. */
  yours: string
}

const ownStops: Readonly<Partial<Record<string, Stop>>> = {
  'sidecar-https': {
    flags: (target) => ['--target', target.origin, '--listen', '127.0.0.1:0'],
    url: ({ https = '' }) => new URL(`https://${https.replace('0.0.0.0', '127.0.0.1')}/`),
    visit: visitHttps,
    tryIt: (url) => `curl -k ${url.href}`,
    yours: 'npx outrider sidecar-https --target http://127.0.0.1:3000 --listen 127.0.0.1:8443',
  },
}

/** A container without a stop of its own is started on free ports and asked whether it is ready. */
export const stopOf = (container: Container): Stop => ownStops[container.name] ?? plainStop(container)

const plainStop = (container: Container): Stop => ({
  flags: () => {
    const ports = Object.values(container.ports)
    return container.params.flatMap(({ name, flag, facts }) => {
      if (ports.includes(name)) return [flag, '127.0.0.1:0']
      return facts.example === undefined || facts.secret ? [] : [flag, facts.example]
    })
  },
  url: ({ admin = '' }) => new URL(`http://${admin}/readyz`),
  visit: async (url) => {
    const { status } = await fetch(url, { signal: AbortSignal.timeout(deadlineMs) })
    if (status !== 200) throw new Error(`${status} from ${url.href}`)
    return 'ready'
  },
  tryIt: (url) => `curl ${url.href}`,
  yours: `npx outrider ${container.name} --help`,
})

const deadlineMs = 10_000

function visitHttps(url: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const begun = performance.now()
    // The tour's certificate is self-signed, as the container itself says loudly.
    const options = {
      rejectUnauthorized: false,
      agent: false,
      signal: AbortSignal.timeout(deadlineMs),
    } as const
    const outgoing = request(url, options, (response) => {
      const protocol = (response.socket as TLSSocket).getProtocol()
      response.on('error', reject)
      response.on('end', () => {
        const seen = `${response.statusCode} in ${Math.round(performance.now() - begun)} ms over ${protocol}`
        // 502 and 504 are the sidecar's own words about an application that does not answer.
        if (response.statusCode === 502 || response.statusCode === 504)
          reject(new Error(`${seen}: no application there`))
        else resolve(seen)
      })
      response.resume()
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
