import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inRoot } from '../support/workspace.ts'

/** A folder of somebody else's, with the published packages installed. */
let consumer: string

beforeAll(() => {
  const said = execFileSync('npm', ['run', '--silent', 'pack'], { cwd: inRoot(), encoding: 'utf8' })
  // The very command that it prints.
  const [command] = /npm install .*$/m.exec(said) ?? []
  if (command === undefined) throw new Error(`npm run pack says no command: ${said}`)
  consumer = mkdtempSync(join(tmpdir(), 'outrider-consumer-'))
  writeFileSync(
    join(consumer, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  )
  execFileSync('sh', ['-c', `${command} --no-audit --no-fund --ignore-scripts`], {
    cwd: consumer,
    stdio: 'pipe',
  })
})
afterAll(() => rmSync(consumer, { recursive: true }))

const inConsumer = (...command: [string, ...string[]]): string =>
  execFileSync(command[0], command.slice(1), { cwd: consumer, encoding: 'utf8' })

function addToConsumer(...packages: string[]): void {
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...packages], {
    cwd: consumer,
    stdio: 'pipe',
  })
}

/** The version that the repository tests with. */
function ioredis(): string {
  const { devDependencies } = JSON.parse(readFileSync(inRoot('package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  return `ioredis@${devDependencies['ioredis']}`
}

it('a module from npm works without container and without core', () => {
  const script = `
    import { selfSigned, startHttpsSidecar } from '@outrider/sidecar-https'
    import { createServer } from 'node:http'
    import { request } from 'node:https'
    const app = createServer((_, response) => response.end('from the application')).listen(0, '127.0.0.1')
    await new Promise((resolve) => app.once('listening', resolve))
    const sidecar = await startHttpsSidecar({
      listen: { host: '127.0.0.1', port: 0 },
      target: new URL('http://127.0.0.1:' + app.address().port),
      certificate: selfSigned({ names: ['localhost'] }),
      connectTimeoutMs: 1000,
      responseTimeoutMs: 1000,
    })
    request({ ...sidecar.address, rejectUnauthorized: false, agent: false }, async (response) => {
      for await (const chunk of response) console.log(String(chunk))
      await sidecar.drain()
      await sidecar[Symbol.asyncDispose]()
      app.close()
      app.closeAllConnections()
    }).end()
    await import('node:module').then(({ default: module }) =>
      console.log('express loaded:', Object.keys(module._cache).some((file) => file.includes('express'))))
  `
  writeFileSync(join(consumer, 'module.mjs'), script)
  const output = inConsumer(process.execPath, 'module.mjs')
  expect(output).toContain('from the application')
  expect(output).toContain('express loaded: false')
})

it('a module from npm finds the program of its threads', () => {
  const script = `
    import { selfSigned } from '@outrider/sidecar-https'
    import { startHttpsWorkers } from '@outrider/sidecar-https/workers'
    const sidecar = await startHttpsWorkers({
      listen: { host: '127.0.0.1', port: 0 },
      target: 'http://127.0.0.1:9',
      certificate: selfSigned({ names: ['localhost'] }),
      connectTimeoutMs: 1000,
      responseTimeoutMs: 1000,
    }, 2)
    console.log('threads:', sidecar.accepted.length)
    await sidecar.drain()
  `
  writeFileSync(join(consumer, 'threads.mjs'), script)
  expect(inConsumer(process.execPath, 'threads.mjs')).toBe('threads: 2\n')
})

it('the clients of shards come from a subpath, and nothing else needs their library', () => {
  const script = `
    import { readTopology } from '@outrider/ambassador-shard'
    const { pool } = readTopology({ shards: [{ name: 'redis-1', address: '10.0.0.1:6379' }] })
    try {
      const { createShardedRedis } = await import('@outrider/ambassador-shard/sharded-redis')
      console.log(createShardedRedis({ servers: pool }).shardOf('a').name)
    } catch (error) {
      console.log(error.message)
    }
  `
  writeFileSync(join(consumer, 'shards.mjs'), script)
  expect(inConsumer(process.execPath, 'shards.mjs')).toMatch(/^Cannot find package 'ioredis'/)
  addToConsumer(ioredis())
  expect(inConsumer(process.execPath, 'shards.mjs')).toBe('redis-1\n')
})

it('the outrider command from npm runs a container', () => {
  expect(inConsumer('npx', 'outrider', 'list')).toContain('sidecar-https')
  expect(inConsumer('npx', 'outrider', 'sidecar-https', '--print', 'schema')).toContain(
    'SIDECAR_HTTPS_TARGET',
  )
})

it('the declarations of the packages type-check in a strict project, and so do the examples in their notes', () => {
  cpSync(inRoot('tsconfig.base.json'), join(consumer, 'base.json'))
  const config = {
    extends: './base.json',
    compilerOptions: { noEmit: true, skipLibCheck: false, types: [] },
    files: ['use.ts', 'notes.ts', 'readme.ts'],
  }
  writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify(config))
  writeFileSync(
    join(consumer, 'use.ts'),
    `import type { HttpsSidecar } from '@outrider/sidecar-https'
     import container from '@outrider/sidecar-https/container'
     import { createShardedRedis, type ShardedRedis } from '@outrider/ambassador-shard/sharded-redis'
     import { type Container, duration } from '@outrider/core'
     export const name: string = (container satisfies Container).name
     export const ms: number = duration.kind.parse('10s')
     export const drain = (sidecar: HttpsSidecar): Promise<void> => sidecar.drain()
     export const shards: ShardedRedis = createShardedRedis({ servers: ['redis-1:6379'], options: { db: 1 } })`,
  )
  const pems = ['certificatePem', 'keyPem', 'shopPem', 'shopKeyPem', 'authoritiesPem', 'crlPem']
  const given = `declare const ${pems.map((name) => `${name}: string`).join(', ')}
     declare const renewed: { cert: string; key: string }\n`
  writeFileSync(join(consumer, 'notes.ts'), given + codeIn('packages/sidecar-https/NOTES.md'))
  writeFileSync(join(consumer, 'readme.ts'), codeIn('README.md'))
  addToConsumer('@types/node@24', ioredis())
  const tsc = inRoot('node_modules/.bin/tsc')
  expect(inConsumer(tsc, '-p', '.', '--types', 'node')).toBe('')
})

/** The first example of TypeScript in a page. */
function codeIn(page: string): string {
  const [, code] = /^```ts\n(.*?)^```$/ms.exec(readFileSync(inRoot(page), 'utf8')) ?? []
  if (code === undefined) throw new Error(`${page} has no example`)
  return code
}
