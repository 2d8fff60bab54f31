import { readFile, readlink } from 'node:fs/promises'
import { request } from 'node:https'
import { basename, join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import type { Container } from '@outrider/core'
import { askRedis } from './ask-redis.ts'
import type { Site } from './site.ts'
import type { Surroundings } from './surroundings.ts'

/** Name of a port, `admin` among them, to where a container listens. */
export type Addresses = Readonly<Record<string, string>>

/** One container's part of the tour. */
export interface Stop {
  /** Flags that put it in front of what there is, listening on free ports of loopback. */
  flags(around: Surroundings): string[]
  /** Its environment beside that, of what may not be seen in the list of processes. */
  variables?(around: Surroundings): Readonly<Record<string, string>>
  /** Why there is nothing to show here, where that is so. */
  lacks?(around: Surroundings): string | undefined
  /** The URL to show, from where the container listens. */
  url(addresses: Addresses): URL
  /** Makes real requests; resolves with what was seen, rejects with what was wrong. */
  visit(url: URL, addresses: Addresses, around: Surroundings | undefined): Promise<string>
  tryIt(url: URL, around: Surroundings | undefined): string
  /** How to have the same in front of one's own application. */
  yours: string
}

const ownStops: Readonly<Partial<Record<string, Stop>>> = {
  'sidecar-https': {
    flags: ({ app }) => ['--target', app.origin, '--listen', '127.0.0.1:0'],
    url: ({ https = '' }) => new URL(`https://${https.replace('0.0.0.0', '127.0.0.1')}/`),
    visit: visitHttps,
    tryIt: (url) => `curl -k ${url.href}`,
    yours: 'npx outrider sidecar-https --target http://127.0.0.1:3000 --listen 127.0.0.1:8443',
  },
  'ambassador-shard': {
    // Not twemproxy's own placement, since that has so few keys of one kind mostly on one shard.
    flags: ({ shards }) => [
      ...['--listen', '127.0.0.1:0', '--distribution', 'rendezvous', '--servers'],
      shards.map((address, index) => `${address}:1 shard-${index + 1}`).join(','),
    ],
    url: ({ redis = '' }) => new URL(`redis://${redis}`),
    visit: visitShards,
    tryIt: (url) => `printf 'GET user:1\\r\\nQUIT\\r\\n' | curl -s telnet://${url.host}`,
    yours: 'npx outrider ambassador-shard --servers redis-1:6379,redis-2:6379,redis-3:6379',
  },
  'git-sync': {
    lacks: ({ site }) => (site === undefined ? 'git is not installed here, which it runs' : undefined),
    flags: ({ site }) => [
      ...['--repo', site?.repository ?? '', '--root', site?.root ?? '', '--link', 'site'],
      ...['--period', '10s', '--max-failures', '-1', '--trigger-bind', '127.0.0.1:0'],
    ],
    variables: ({ site }) => ({ GITSYNC_TRIGGER_SECRET: site?.token ?? '' }),
    url: ({ trigger }) => new URL(`http://${trigger}/sync`),
    visit: (url, _, around) => visitSite(url, around?.site),
    tryIt: (url, around) => `curl -X POST -H 'Authorization: Bearer ${around?.site?.token}' ${url.href}`,
    yours: 'npx outrider git-sync --repo https://github.com/you/site.git --root /srv/site --period 30s',
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

const usersWritten = 300

/** Writes and reads users as a program would that knows one Redis, and asks the page where they went. */
async function visitShards(url: URL, { admin = '' }: Addresses): Promise<string> {
  const begun = performance.now()
  const keys = Array.from({ length: usersWritten }, (_, index) => `user:${index + 1}`)
  const written = await askRedis(
    url,
    keys.map((key) => ['SET', key, `the user of ${key}`]),
    deadlineMs,
  )
  const refused = written.find((reply) => reply !== '+OK')
  if (refused !== undefined) throw new Error(refused)
  const spread = await spreadOf(admin)
  const read = await askRedis(
    url,
    keys.map((key) => ['GET', key]),
    deadlineMs,
  )
  const lost = keys.find((key, index) => !read[index]?.endsWith(`the user of ${key}`))
  if (lost !== undefined) throw new Error(`${lost} was read as ${read[keys.indexOf(lost)]}`)
  const ms = Math.round(performance.now() - begun)
  return `${keys.length} keys written and read in ${ms} ms: ${spread}`
}

interface ShardPage {
  readonly pools: readonly { readonly shards: readonly { name: string; requests: number }[] }[]
}

async function spreadOf(admin: string): Promise<string> {
  const answer = await fetch(`http://${admin}/status?format=json`, {
    signal: AbortSignal.timeout(deadlineMs),
  })
  const { pools } = (await answer.json()) as ShardPage
  const shards = pools.flatMap((pool) => pool.shards)
  return shards.map(({ name, requests }) => `${requests} on ${name}`).join(', ')
}

/** Commits a change, as a push does, and looks until it is live. */
async function visitSite(url: URL, site: Site | undefined): Promise<string> {
  if (site === undefined) throw new Error('there is no repository')
  const text = 'Hello from the second commit.\n'
  const hash = await site.change(text)
  const begun = performance.now()
  const headers = { authorization: `Bearer ${site.token}` }
  const signal = AbortSignal.timeout(deadlineMs)
  const { status } = await fetch(url, { method: 'POST', headers, signal })
  if (status !== 202) throw new Error(`${status} from ${url.href}`)
  while (basename(await readlink(site.link).catch(() => '')) !== hash) {
    if (signal.aborted) throw new Error(`${hash} was not published in ${deadlineMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const ms = Math.round(performance.now() - begun)
  const seen = await readFile(join(site.link, 'index.html'), 'utf8')
  if (seen !== text) throw new Error(`${site.link} shows ${JSON.stringify(seen)}`)
  return `a push was live in ${ms} ms: ${site.link}`
}
