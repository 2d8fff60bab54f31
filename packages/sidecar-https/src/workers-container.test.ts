import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type StartedContainer, startContainer } from '@outrider/core/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import container from './container.ts'
import { selfSigned } from './index.ts'
import { type Application, ask, handshake, httpApp, open, rawClient, tcpApp, until } from './test-support.ts'

let app: Application
let directory: string
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  app = await httpApp((_, res) => res.end('hello'))
})
afterEach(async () => {
  await app[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
})

const env = () => ({ SIDECAR_HTTPS_TARGET: app.target.href, SIDECAR_HTTPS_WORKERS: '2' })

function portOf({ addresses: { https } }: StartedContainer): number {
  if (https === undefined || 'path' in https) throw new Error('it listens on TCP')
  return https.port
}

async function servedNames(port: number): Promise<string> {
  const socket = await handshake(port)
  const { subjectaltname } = socket.getPeerCertificate()
  socket.resume().end()
  await once(socket, 'close')
  return subjectaltname ?? ''
}

function writePair(name: string): void {
  const { cert, key } = selfSigned({ names: [name] })
  writeFileSync(join(directory, 'tls.key'), key)
  writeFileSync(join(directory, 'tls.crt'), cert)
}

describe('with two workers', () => {
  test('all requests are in the metrics, once', async () => {
    await using started = await startContainer(container, env())
    for (let request = 0; request < 30; request += 1) expect((await ask(portOf(started))).body).toBe('hello')
    const metrics = async () => (await started.ask('/metrics')).text()
    const complete = 'outrider_sidecar_https_requests_total{code="2xx",outcome="complete"} 30\n'
    for (let text = ''; !text.includes(complete); await delay(20)) text = await metrics()
    expect(await metrics()).toContain('outrider_sidecar_https_handshakes_total{outcome="ok"} 30\n')
    expect(await metrics()).toContain('outrider_sidecar_https_request_duration_seconds_count 30\n')
  })

  test('a certificate replaced on disk is served by all of them', async () => {
    writePair('before.test')
    const files = {
      SIDECAR_HTTPS_CERT: join(directory, 'tls.crt'),
      SIDECAR_HTTPS_KEY: join(directory, 'tls.key'),
    }
    await using started = await startContainer(container, { ...env(), ...files })
    const names = () => Promise.all(Array.from({ length: 50 }, () => servedNames(portOf(started))))
    expect((await names()).every((name) => name.includes('before.test'))).toBe(true)
    writePair('after.test')
    const infos = () => started.events.filter(({ msg }) => msg === 'certificate in use').length
    await until(() => infos() === 2, 'the new certificate')
    while (!(await names()).every((name) => name.includes('after.test'))) await delay(5)
    expect((await names()).every((name) => name.includes('after.test'))).toBe(true)
  })

  test('the drain finishes what is in hand', async () => {
    await using slow = await httpApp((_, res) => {
      res.write('begin')
      setTimeout(() => res.end(' and end'), 300)
    })
    const started = await startContainer(container, { ...env(), SIDECAR_HTTPS_TARGET: slow.target.href })
    const responses = await Promise.all(Array.from({ length: 10 }, () => open(portOf(started))))
    const bodies = Promise.all(responses.map((response) => response.toArray()))
    expect(await started.drain()).toBe('finished')
    expect((await bodies).map((chunks) => Buffer.concat(chunks).toString())).toEqual(
      Array(10).fill('begin and end'),
    )
    await started[Symbol.asyncDispose]()
  })

  test('a port in use is refused with the name of the parameter', async () => {
    await using other = await tcpApp((socket) => socket.destroy())
    const listen = `127.0.0.1:${other.port}`
    await expect(startContainer(container, { ...env(), SIDECAR_HTTPS_LISTEN: listen })).rejects.toThrow(
      `SIDECAR_HTTPS_LISTEN (--listen): ${listen} is in use by another program`,
    )
  })

  test('a socket file to listen on is refused', async () => {
    const listen = `unix:${join(directory, 'socket')}`
    await expect(startContainer(container, { ...env(), SIDECAR_HTTPS_LISTEN: listen })).rejects.toThrow(
      'SIDECAR_HTTPS_WORKERS (--workers) must be 1 for a SIDECAR_HTTPS_LISTEN (--listen) of unix:',
    )
  })
})

// In its own process, since its end is what is told.
describe('the program with two workers', () => {
  interface Program {
    readonly log: () => string
    readonly https: number
    readonly signal: (name: NodeJS.Signals) => void
    readonly ended: Promise<unknown[]>
  }

  async function startProgram(preload = '', more: Readonly<Record<string, string>> = {}): Promise<Program> {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./main.ts', import.meta.url))], {
      env: {
        ...env(),
        SIDECAR_HTTPS_LISTEN: '127.0.0.1:0',
        SIDECAR_HTTPS_ADMIN: '127.0.0.1:0',
        ...more,
        NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(preload)}`,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let log = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (log += chunk))
    const ended = once(child, 'close')
    await until(
      () => /"msg":"started".*\n/.test(log),
      () => `the start in ${log}`,
    )
    const https = Number(/"https":"127\.0\.0\.1:(\d+)"/.exec(log)?.[1])
    return { log: () => log, https, ended, signal: (name) => void child.kill(name) }
  }

  test('ends with exit code 0 after SIGTERM', async () => {
    const program = await startProgram()
    expect((await ask(program.https)).status).toBe(200)
    program.signal('SIGTERM')
    expect(await program.ended).toEqual([0, null])
    expect(program.log()).toContain('"outcome":"finished"')
  })

  test('ends with exit code 0 although the system never closes a connection to the application', async () => {
    await using echo = await tcpApp((socket) => void socket.pipe(socket))
    const preload = `
      import { Socket } from 'node:net'
      const { connect, _destroy } = Socket.prototype
      const outgoing = new WeakSet()
      Socket.prototype.connect = function (...to) {
        outgoing.add(this)
        return connect.apply(this, to)
      }
      Socket.prototype._destroy = function (error, done) {
        if (!outgoing.has(this)) _destroy.call(this, error, done)
      }
    `
    const target = { SIDECAR_HTTPS_MODE: 'tcp', SIDECAR_HTTPS_TARGET: `tcp://127.0.0.1:${echo.port}` }
    const program = await startProgram(preload, target)
    const client = await rawClient(program.https)
    client.socket.write('ping')
    await client.until('ping')
    client.socket.destroy()
    program.signal('SIGTERM')
    expect(await program.ended).toEqual([0, null])
    expect(program.log()).toContain('"outcome":"finished"')
  })

  test('ends with exit code 1 and the error in its log when a thread fails', async () => {
    const program = await startProgram(`
      import { isMainThread } from 'node:worker_threads'
      const channel = new BroadcastChannel('test')
      channel.unref()
      if (isMainThread) process.on('SIGUSR2', () => channel.postMessage('fail'))
      else channel.onmessage = () => { throw new Error('the thread has had enough') }
    `)
    expect((await ask(program.https)).status).toBe(200)
    program.signal('SIGUSR2')
    expect(await program.ended).toEqual([1, null])
    expect(program.log()).toMatch(/"msg":"crashed","error":"Error: the thread has had enough/)
  })
})
