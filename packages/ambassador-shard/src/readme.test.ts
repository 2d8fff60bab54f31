import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { type RawClient, rawClient, tinyShard, until } from './redis/proxy-test-support.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

test('the example of the README is an ambassador', async () => {
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  await using one = await tinyShard()
  await using two = await tinyShard()
  await using three = await tinyShard()
  const free = await tinyShard()
  const { port } = free
  await free[Symbol.asyncDispose]()
  expect(code).toMatch(/\[6380, 6381, 6382\][\s\S]*port: 6379/)
  const program = code
    .replace('6380, 6381, 6382', `${one.port}, ${two.port}, ${three.port}`)
    .replace('6379', String(port))
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    cwd: new URL('..', import.meta.url),
  })
  let said = ''
  child.stderr.on('data', (text) => (said += String(text)))
  try {
    let up = false
    const knock = async () => {
      while (!up && child.exitCode === null) {
        const socket = connect(port, '127.0.0.1')
        up = await once(socket, 'connect').then(
          () => true,
          () => false,
        )
        socket.destroy()
      }
    }
    void knock()
    await until(
      () => up,
      () => `the ambassador, which said ${said}`,
    )
    using client: RawClient = await rawClient(port)
    const keys = Array.from({ length: 600 }, (_, index) => `${index * 7919}:key`)
    expect(await client.ask('MSET', ...keys.flatMap((key) => [key, '1']))).toBe('+OK\r\n')
    expect(await client.ask('DBSIZE')).toBe(':600\r\n')
    for (const shard of [one, two, three]) expect(shard.values.size).toBeGreaterThan(0)
  } finally {
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
})
