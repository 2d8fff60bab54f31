import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { LIMITS } from './limits.ts'
import { ask, httpApp, namedApp, tcpApp, until } from './test-support.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return once(socket, 'connect')
    .then(() => true)
    .catch(() => false)
    .finally(() => socket.destroy())
}

const programs = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = '']) => code)
const importing = /^import .*\n/gm

/** Runs a program once it listens; addresses of applications and the port are put in. */
async function running(
  program: string,
  ports: Readonly<Record<string, number>>,
  use: (port: number, said: () => string) => Promise<void>,
): Promise<void> {
  const free = await tcpApp(() => undefined)
  const { port } = free
  await free[Symbol.asyncDispose]()
  let code = program.replace(/listen\(\d+\)/, `listen(${port})`)
  for (const [own, real] of Object.entries(ports)) code = code.replace(`:${own}'`, `:${real}'`)
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', code], {
    cwd: new URL('..', import.meta.url),
  })
  let said = ''
  child.stdout.on('data', (text) => (said += String(text)))
  child.stderr.on('data', (text) => (said += String(text)))
  try {
    let up = false
    const knock = async () => {
      while (!up && child.exitCode === null) up = await accepts(port)
    }
    void knock()
    await until(
      () => up,
      () => `the proxy, which said ${said}`,
    )
    await use(port, () => said)
  } finally {
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
}

test('the ten lines of the README are a proxy', async () => {
  const [code = ''] = programs
  expect(code.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(10)
  await using app = await namedApp('app')
  expect(code).toMatch(/127\.0\.0\.1:3000[\s\S]*listen\(8080\)/)
  await running(code, { 3000: app.port }, async (port, said) => {
    expect((await ask(port, 'GET /healthz HTTP/1.1\r\nHost: a\r\n')).body).toBe('up\n')
    const { status, body } = await ask(port, 'PUT /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n', 'hello')
    expect([status, JSON.parse(body)]).toMatchObject([
      200,
      { app: 'app', method: 'PUT', url: '/a?b', body: 'hello' },
    ])
    await until(() => said().includes('PUT /a?b 200\n'), 'the line of the log')
  })
})

test('the canary of the README splits by cookie, falls back, and casts a shadow', async () => {
  const [ten = '', , code = ''] = programs
  const program = `${ten.match(importing)?.join('')}${code}`
  await using stable = await namedApp('stable')
  let failing = false
  await using canary = await httpApp((_, res) => {
    res.statusCode = failing ? 500 : 200
    res.end('canary')
  })
  await running(program, { 3001: stable.port, 3002: canary.port }, async (port, said) => {
    const get = 'GET / HTTP/1.1\r\nHost: a\r\n'
    const chosen = await ask(port, `${get}Cookie: canary=yes\r\n`)
    expect([chosen.body, chosen.headers.get('x-canary')]).toEqual(['canary', '200'])
    expect((await ask(port, get)).headers.get('x-app')).toBe('stable')
    await until(() => /shadow http:\/\/127\.0\.0\.1:\d+ 200/.test(said()), 'the shadow')
    failing = true
    expect((await ask(port, `${get}Cookie: canary=yes\r\n`)).headers.get('x-app')).toBe('stable')
  })
})

test('the README lists each limit with its default', () => {
  const rows = [...readme.matchAll(/^\| `(\w+)` \| (\d+|Infinity) \|/gm)].map(([, name, value]) => [
    name,
    Number(value),
  ])
  expect(Object.fromEntries(rows)).toEqual(LIMITS)
})
