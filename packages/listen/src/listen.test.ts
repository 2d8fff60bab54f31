import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ListenAddress, listen } from './listen.ts'

let directory: string
let servers: Server[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  servers = []
})
afterEach(async () => {
  for (const server of servers.filter((candidate) => candidate.listening)) {
    server.close()
    await once(server, 'close')
  }
  rmSync(directory, { recursive: true })
})

function start(address: ListenAddress): Promise<ListenAddress> {
  const server = createServer((socket) => socket.end())
  servers.push(server)
  return listen(server, address)
}

async function answers(address: ListenAddress): Promise<boolean> {
  const socket = connect(address)
  socket.resume()
  return once(socket, 'close').then(
    () => true,
    () => false,
  )
}

it('port 0 gives the port that the system chose', async () => {
  const address = await start({ host: '127.0.0.1', port: 0 })
  expect(address).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
  expect(await answers(address)).toBe(true)
})

it('an empty host is all addresses', async () => {
  const address = await start({ host: '', port: 0 })
  if ('path' in address) throw new Error('TCP')
  expect(await answers({ host: '127.0.0.1', port: address.port })).toBe(true)
})

it('a port in use is refused with the error of the system', async () => {
  const taken = await start({ host: '127.0.0.1', port: 0 })
  await expect(start(taken)).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

it('servers that reuse a port listen at the same one', async () => {
  const first = await start({ host: '127.0.0.1', port: 0, reusePort: true })
  expect(await start({ ...first, reusePort: true })).toEqual(first)
})

it('a port of which one side knows of no reuse is refused', async () => {
  const reused = await start({ host: '127.0.0.1', port: 0, reusePort: true })
  await expect(start(reused)).rejects.toMatchObject({ code: 'EADDRINUSE' })
  const own = await start({ host: '127.0.0.1', port: 0 })
  await expect(start({ ...own, reusePort: true })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

it('a socket file that a killed process has left is replaced', async () => {
  const path = join(directory, 'socket')
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'close')
  expect(existsSync(path)).toBe(true)
  expect(await answers(await start({ path }))).toBe(true)
})

it('a socket on which somebody accepts is refused and left alone', async () => {
  const path = join(directory, 'socket')
  await start({ path })
  await expect(start({ path })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  expect(await answers({ path })).toBe(true)
})

it('a file that is no socket is refused and left alone', async () => {
  const path = join(directory, 'file')
  writeFileSync(path, 'precious')
  await expect(start({ path })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  expect(existsSync(path)).toBe(true)
})

it('a thousand clients that come before one is accepted are not turned away', async () => {
  const program = `
    import { createServer } from 'node:net'
    import { listen } from ${JSON.stringify(new URL('listen.ts', import.meta.url).href)}
    const address = await listen(createServer(), { host: '127.0.0.1', port: 0 })
    process.stdout.write(String(address.port), () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
  `
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program])
  try {
    const [port] = await once(child.stdout, 'data')
    const clients = Array.from({ length: 1_000 }, () => connect({ host: '127.0.0.1', port: Number(port) }))
    await Promise.all(clients.map((client) => once(client, 'connect')))
    for (const client of clients) client.destroy()
  } finally {
    child.kill('SIGKILL')
  }
}, 20_000)
