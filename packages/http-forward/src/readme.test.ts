import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { LIMITS } from './limits.ts'
import { ask, namedApp, tcpApp, until } from './test-support.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return once(socket, 'connect')
    .then(() => true)
    .catch(() => false)
    .finally(() => socket.destroy())
}

test('the ten lines of the README are a proxy', async () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  expect(code.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(10)
  await using app = await namedApp('app')
  const free = await tcpApp(() => undefined)
  const { port } = free
  await free[Symbol.asyncDispose]()
  expect(code).toMatch(/127\.0\.0\.1:3000[\s\S]*listen\(8080\)/)
  const program = code.replace('127.0.0.1:3000', `127.0.0.1:${app.port}`).replace('8080', String(port))
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
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
    expect((await ask(port, 'GET /healthz HTTP/1.1\r\nHost: a\r\n')).body).toBe('up\n')
    const { status, body } = await ask(port, 'PUT /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n', 'hello')
    expect([status, JSON.parse(body)]).toMatchObject([
      200,
      { app: 'app', method: 'PUT', url: '/a?b', body: 'hello' },
    ])
    await until(() => said.includes('PUT /a?b 200\n'), 'the line of the log')
  } finally {
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
})

test('the README lists each limit with its default', () => {
  const rows = [...readme.matchAll(/^\| `(\w+)` \| (\d+|Infinity) \|/gm)].map(([, name, value]) => [
    name,
    Number(value),
  ])
  expect(Object.fromEntries(rows)).toEqual(LIMITS)
})
