import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createRing,
  isKeyHashName,
  KEY_HASHES,
  type KeyHashName,
  type Ring,
  twemproxyServer,
} from '@outrider/hash-ring'
import { GenericContainer, type StartedTestContainer } from 'testcontainers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { docker } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

const image = 'outrider-test/nutcracker'

interface Pool {
  readonly title: string
  readonly distribution: 'ketama' | 'modula'
  readonly hash: KeyHashName
  readonly tag?: string
  /** Lines as in twemproxy's file, of the servers with these indexes. */
  readonly lines: (fakes: Fakes) => string[]
}

interface Fakes {
  readonly path: (index: number) => string
  readonly port: number
}

const named = (weights: readonly number[]) => (fakes: Fakes) =>
  weights.map((weight, index) => `${fakes.path(index)}:${weight} redis-${index + 1}`)
const equal = (count: number) => named(new Array<number>(count).fill(1))

// Names of two lengths, so that their order counts.
const weighted = named([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])

const pools: readonly Pool[] = [
  ...KEY_HASHES.filter(isKeyHashName).flatMap((hash) =>
    (['ketama', 'modula'] as const).map((distribution): Pool => {
      return { title: `${distribution} with ${hash} and weights`, distribution, hash, lines: weighted }
    }),
  ),
  // Of 25, 47 and 61 each has fewer points than of the others.
  ...[1, 2, 3, 4, 7, 10, 25, 47, 61].map((count): Pool => {
    return {
      title: `ketama over ${count} equal servers`,
      distribution: 'ketama',
      hash: 'fnv1a_64',
      lines: equal(count),
    }
  }),
  { title: 'modula over 61 equal servers', distribution: 'modula', hash: 'fnv1a_64', lines: equal(61) },
  ...[
    [100_000, 1],
    [7, 11, 13, 10_007, 3],
    [1, 1_000_000_000],
  ].map((weights): Pool => {
    return {
      title: `ketama with the weights ${weights.join(', ')}`,
      distribution: 'ketama',
      hash: 'md5',
      lines: named(weights),
    }
  }),
  ...['{}', '||', '<>'].map((tag): Pool => {
    return {
      title: `ketama with the tag ${tag}`,
      distribution: 'ketama',
      hash: 'murmur',
      tag,
      lines: equal(5),
    }
  }),
  {
    title: 'ketama over sockets and a port without names',
    distribution: 'ketama',
    hash: 'fnv1a_64',
    lines: ({ path, port }) => [`${path(0)}:1`, `${path(1)}:2`, `${path(2)}:1`, `127.0.0.1:${port}:1`],
  },
]

let directory: string
let twemproxy: StartedTestContainer
let servers: Server[]
let fakes: Fakes

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  chmodSync(directory, 0o755)
  const dockerfile = inRoot('test/e2e/nutcracker.Dockerfile')
  await docker('build', '--quiet', '--tag', image, '--file', dockerfile, inRoot('test/support'))
  servers = Array.from({ length: 61 }, (_, index) => fakeServer(index))
  for (const [index, server] of servers.entries()) {
    await listening(server, { path: join(directory, `server-${index}`) })
  }
  // The fourth one, as in the pool without names.
  const overTcp = fakeServer(3)
  servers.push(overTcp)
  fakes = {
    path: (index) => join(directory, `server-${index}`),
    port: await listening(overTcp, { host: '127.0.0.1', port: 0 }),
  }
  twemproxy = await new GenericContainer(image)
    .withNetworkMode('host')
    .withBindMounts([{ source: directory, target: directory, mode: 'rw' }])
    .withCopyContentToContainer([{ content: configuration(), target: '/etc/twemproxy.yml' }])
    .withCommand(['-c', '/etc/twemproxy.yml', '-s', String(await freePort())])
    .start()
  await until('all pools', () => pools.every((_, number) => existsSync(listenPath(number))))
})
afterAll(async () => {
  await twemproxy.stop()
  for (const server of servers) server.close()
  rmSync(directory, { recursive: true })
})

/** A Redis that answers each GET with its own index, in two digits. It counts ends of lines: no key has any. */
function fakeServer(index: number): Server {
  const reply = `$2\r\n${String(index).padStart(2, '0')}\r\n`
  return createServer((socket) => {
    let lines = 0
    let answered = 0
    socket.on('data', (bytes) => {
      for (const byte of bytes) if (byte === 0x0a) lines += 1
      const due = Math.floor(lines / 5)
      socket.write(reply.repeat(due - answered))
      answered = due
    })
    socket.on('error', () => socket.destroy())
  })
}

async function listening(
  server: Server,
  address: { path: string } | { host: string; port: number },
): Promise<number> {
  server.listen(address)
  await once(server, 'listening')
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? bound.port : 0
}

async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listening(server, { host: '127.0.0.1', port: 0 })
  server.close()
  await once(server, 'close')
  return port
}

function listenPath(number: number): string {
  return join(directory, `pool-${number}`)
}

function configuration(): string {
  return pools
    .map(({ distribution, hash, tag, lines }, number) =>
      [
        `pool${number}:`,
        `  listen: ${listenPath(number)} 0666`,
        `  redis: true`,
        `  distribution: ${distribution}`,
        `  hash: ${hash}`,
        ...(tag === undefined ? [] : [`  hash_tag: "${tag}"`]),
        `  servers:`,
        ...lines(fakes).map((line) => `   - ${line}`),
      ].join('\n'),
    )
    .join('\n')
}

function ringOf({ distribution, hash, tag, lines }: Pool): Ring {
  return createRing({
    distribution,
    hash,
    // As the compiler of Debian's package has it.
    charSign: process.arch === 'x64' ? 'signed' : 'unsigned',
    ...(tag === undefined ? {} : { tag }),
    servers: lines(fakes).map(twemproxyServer),
  })
}

/** Plain names, names with tags, and any bytes but the end of a line. */
const keys = Array.from({ length: 100_000 }, (_, number): Buffer => {
  if (number < 40_000) return Buffer.from(`key:${number}`)
  const bytes = createHash('sha512')
    .update(String(number))
    .digest()
    .subarray(0, 1 + (number % 60))
  for (const [at, byte] of bytes.entries()) if (byte === 0x0a) bytes[at] = 0
  if (number < 80_000) return bytes
  const pair = ['{}', '||', '<>', '{{', '}{'][number % 5] ?? ''
  return Buffer.concat([bytes, Buffer.from(`${pair[0]}user:${number}${pair[1]}`), bytes])
})

const WINDOW = 1000

/** The index of the server that twemproxy asks for each key. */
async function placements(number: number): Promise<number[]> {
  const socket = connect(listenPath(number))
  const found: number[] = []
  try {
    const replies = socket[Symbol.asyncIterator]()
    for (let from = 0; from < keys.length; from += WINDOW) {
      const window = keys.slice(from, from + WINDOW)
      const commands = window.flatMap((key) => [
        Buffer.from(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n`),
        key,
        Buffer.from('\r\n'),
      ])
      socket.write(Buffer.concat(commands))
      let text = ''
      while (text.length < 8 * window.length) {
        const { value, done } = await replies.next()
        if (done) throw new Error(`twemproxy closed the connection behind ${JSON.stringify(text.slice(-80))}`)
        text += String(value)
        if (!/^\$2\r\n\d\d\r\n/.test(text))
          throw new Error(`twemproxy said ${JSON.stringify(text.slice(0, 80))}`)
      }
      for (let at = 4; at < text.length; at += 8) found.push(Number(text.slice(at, at + 2)))
    }
  } finally {
    socket.destroy()
  }
  return found
}

it.each(pools.map((pool, number) => ({ ...pool, number })))(
  '100000 keys are where twemproxy has them: $title',
  async ({ number, ...pool }) => {
    const ring = ringOf(pool)
    const theirs = await placements(number)
    expect(theirs).toHaveLength(keys.length)
    const elsewhere = keys.flatMap((key, at) => {
      const index = ring.indexOf(key, 0, key.length)
      return index === theirs[at] ? [] : [{ key: key.toString('latin1'), index, theirs: theirs[at] }]
    })
    expect(elsewhere.slice(0, 5)).toEqual([])
  },
)
