import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import { type Address, flag } from './kinds.ts'
import { probe } from './probe.ts'
import { startContainer } from './testing.ts'

const box = defineContainer({
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Is ready or not.',
  contract: [],
  admin: 9999,
  params: { closed: flag('Whether it is not ready.') },
  metrics: {},
  async start({ params, gate }) {
    const upstream = gate('upstream', 'not connected yet')
    if (!params.closed) upstream.open()
    return { async [Symbol.asyncDispose]() {} }
  },
})

/** Containers without IPv6 exist. */
const ipv6 = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'))

const cleanUp: (() => void)[] = []
afterEach(() => {
  for (const each of cleanUp.splice(0).reverse()) each()
})

function temporarySocket(): string {
  const directory = mkdtempSync(join(tmpdir(), 'probe-'))
  cleanUp.push(() => rmSync(directory, { recursive: true }))
  return join(directory, 'admin.sock')
}

async function listening(server: Server): Promise<Address> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  if (typeof bound !== 'object' || bound === null) throw new Error('not listening')
  return { host: '127.0.0.1', port: bound.port }
}

/** A server that answers as told. */
function answering(listener: RequestListener): Promise<Address> {
  const server = createHttpServer(listener)
  cleanUp.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return listening(server)
}

describe('a container that is ready', () => {
  it.each(['live', 'ready'] as const)('is %s', async (kind) => {
    await using started = await startContainer(box)
    expect(await probe(kind, started.admin)).toMatchObject({ ok: true })
  })

  it.each(
    [
      ['an IPv6 address', '[::1]:0'],
      ['all IPv4 addresses', '0.0.0.0:0'],
      ['all IPv6 addresses', '[::]:0'],
      ['all addresses', ':0'],
      ['a name', 'localhost:0'],
    ].filter(([, admin]) => ipv6 || admin?.startsWith('[') === false),
  )('is found on %s', async (_, admin) => {
    await using started = await startContainer(box, { TEST_BOX_ADMIN: admin })
    expect(await probe('ready', started.admin)).toMatchObject({ ok: true })
  })

  it('is found on a Unix socket', async () => {
    await using started = await startContainer(box, { TEST_BOX_ADMIN: `unix:${temporarySocket()}` })
    expect(await probe('ready', started.admin)).toMatchObject({ ok: true })
  })

  // The parameter says `:9101`, and that is what the probe of an image has to go by.
  it('is found by the address as it was given, with an empty host', async () => {
    await using started = await startContainer(box, { TEST_BOX_ADMIN: ':0' })
    const { admin } = started
    if ('path' in admin) throw new Error('not a Unix socket')
    expect(await probe('ready', { host: '', port: admin.port })).toMatchObject({ ok: true })
  })
})

describe('a container that is not ready', () => {
  it('is live', async () => {
    await using started = await startContainer(box, { TEST_BOX_CLOSED: 'true' })
    expect(await probe('live', started.admin)).toMatchObject({ ok: true })
  })

  it('is not ready, and the probe says which gate is closed', async () => {
    await using started = await startContainer(box, { TEST_BOX_CLOSED: 'true' })
    const { ok, detail } = await probe('ready', started.admin)
    expect(ok).toBe(false)
    expect(JSON.parse(detail)).toMatchObject({ gates: { upstream: { reason: 'not connected yet' } } })
  })
})

describe('where nothing answers as it should, the probe fails and says why:', () => {
  it('a port on which nobody listens', async () => {
    const server = createServer()
    const at = await listening(server)
    server.close()
    await once(server, 'close')
    expect(await probe('live', at)).toEqual({ ok: false, detail: expect.stringContaining('ECONNREFUSED') })
  })

  it('a Unix socket that does not exist', async () => {
    const result = await probe('live', { path: temporarySocket() })
    expect(result).toEqual({ ok: false, detail: expect.stringContaining('ENOENT') })
  })

  it('a host that does not exist', async () => {
    expect(await probe('live', { host: 'no-such-host.invalid', port: 1 })).toMatchObject({ ok: false })
  })

  it('a server that accepts and says nothing', async () => {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)))
    cleanUp.push(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    expect(await probe('live', await listening(server))).toEqual({
      ok: false,
      detail: expect.stringMatching(/abort|timeout/i),
    })
  })

  it('a server that begins an answer and stops', async () => {
    const at = await answering((_, response) => void response.write('{'))
    expect(await probe('live', at)).toMatchObject({ ok: false })
  })

  it('a server that sends without end', async () => {
    const at = await answering((_, response) => {
      const more = () => {
        while (response.write('x'.repeat(65_536)));
      }
      response.on('drain', more).on('error', () => undefined)
      more()
    })
    const { ok, detail } = await probe('live', at)
    expect(ok).toBe(false)
    expect(detail.length).toBeLessThanOrEqual(65_536)
  })

  it('a server that closes without an answer', async () => {
    const server = createServer((socket) => socket.destroy())
    cleanUp.push(() => server.close())
    expect(await probe('live', await listening(server))).toMatchObject({ ok: false })
  })

  it('a server of another protocol', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined).end('+PONG\r\n'))
    cleanUp.push(() => server.close())
    expect(await probe('live', await listening(server))).toMatchObject({ ok: false })
  })

  it.each([204, 301, 404, 500, 503])('status %i', async (status) => {
    const at = await answering((_, response) => void response.writeHead(status).end())
    expect(await probe('live', at)).toMatchObject({ ok: false })
  })
})
