import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import { selfSigned } from '@outrider/sidecar-https'
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { logOf, RidingContainer } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { inRoot } from '../support/workspace.ts'

/** The example's application and the image, in one network namespace, as in a pod. */
let app: StartedTestContainer
let sidecar: StartedTestContainer | undefined
let directory: string

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  chmodSync(directory, 0o755)
  app = await new GenericContainer('node:24-bookworm-slim')
    .withBindMounts([{ source: inRoot('examples/legacy-https/app.js'), target: '/srv/app.js', mode: 'ro' }])
    .withCommand(['node', '/srv/app.js'])
    .withExposedPorts(8443, 9101)
    .withWaitStrategy(Wait.forSuccessfulCommand('node -e "fetch(\'http://127.0.0.1:8080\')"'))
    .start()
})
afterEach(async () => {
  await sidecar?.stop()
  sidecar = undefined
  await app.stop()
  rmSync(directory, { recursive: true })
})

async function startSidecar(
  mounts: { source: string; target: string }[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<StartedTestContainer> {
  sidecar = await new RidingContainer('outrider/sidecar-https')
    .withNetworkMode(`container:${app.getId()}`)
    .withEnvironment({ SIDECAR_HTTPS_TARGET: 'http://127.0.0.1:8080', ...env })
    .withBindMounts(mounts.map((mount) => ({ ...mount, mode: 'ro' })))
    .start()
  return sidecar
}

interface Seen {
  readonly status: number | undefined
  readonly body: string
  readonly certificate: DetailedPeerCertificate
}

function get(path: string, agent?: import('node:https').Agent): Promise<Seen> {
  const options = { host: app.getHost(), port: app.getMappedPort(8443), path, rejectUnauthorized: false }
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...options, agent: agent ?? false }, (response) => {
      const certificate = (response.socket as TLSSocket).getPeerCertificate(true)
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode, body, certificate }))
      response.on('error', reject)
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

it('with only SIDECAR_HTTPS_TARGET set it serves the application over HTTPS, self-signed and loud about it', async () => {
  const running = await startSidecar()
  const { status, body, certificate } = await get('/hello')
  expect(status).toBe(200)
  expect(body).toMatch(/^Hello from \/hello, asked over https by \d/)
  expect(certificate.subjectaltname).toContain('localhost')
  const log = await logOf(running)
  expect(log.some(({ level, msg }) => level === 'warn' && String(msg).includes('SELF-SIGNED'))).toBe(true)
  const ready = await fetch(`http://${app.getHost()}:${app.getMappedPort(9101)}/readyz`)
  expect(await ready.text()).toContain('SELF-SIGNED')
})

it('POST /drain from outside the pod is refused', async () => {
  await startSidecar()
  const url = `http://${app.getHost()}:${app.getMappedPort(9101)}/drain`
  expect((await fetch(url, { method: 'POST' })).status).toBe(403)
})

it('a certificate replaced in a mounted Secret is served to new connections, without one failed request', async () => {
  const publish = secretAt(directory)
  publish(1, selfSigned({ names: ['old.test'] }))
  await startSidecar([{ source: directory, target: '/tls' }])
  expect((await get('/')).certificate.subjectaltname).toContain('DNS:old.test')
  const outcomes: (number | undefined)[] = []
  let loading = true
  const load = Array.from({ length: 8 }, async () => {
    while (loading) outcomes.push((await get('/')).status)
  })
  for (const version of [2, 3, 4, 5]) {
    publish(version, selfSigned({ names: [`v${version}.test`] }))
    await until('the new certificate', async () => {
      return (await get('/')).certificate.subjectaltname?.includes(`DNS:v${version}.test`)
    })
  }
  loading = false
  await Promise.all(load)
  expect(outcomes.length).toBeGreaterThan(100)
  expect(outcomes.filter((status) => status !== 200)).toEqual([])
})

it('a single mounted file written in place is seen, too', async () => {
  const pair = selfSigned({ names: ['file-one.test'] })
  const files = { cert: join(directory, 'tls.crt'), key: join(directory, 'tls.key') }
  for (const name of ['cert', 'key'] as const) writeFileSync(files[name], pair[name])
  await startSidecar([
    { source: files.cert, target: '/tls/tls.crt' },
    { source: files.key, target: '/tls/tls.key' },
  ])
  expect((await get('/')).certificate.subjectaltname).toContain('DNS:file-one.test')
  const next = selfSigned({ names: ['file-two.test'] })
  for (const name of ['cert', 'key'] as const) writeFileSync(files[name], next[name])
  await until('the new certificate', async () =>
    (await get('/')).certificate.subjectaltname?.includes('DNS:file-two.test'),
  )
})

it('with two workers both serve, and a replaced certificate is served by both', async () => {
  const publish = secretAt(directory)
  publish(1, selfSigned({ names: ['old.test'] }))
  const running = await startSidecar([{ source: directory, target: '/tls' }], { SIDECAR_HTTPS_WORKERS: '2' })
  const many = () => Promise.all(Array.from({ length: 50 }, () => get('/')))
  expect((await many()).map(({ status }) => status)).toEqual(Array(50).fill(200))
  const threads = `const { readdirSync, readFileSync } = require('node:fs')
    console.log(readdirSync('/proc/1/task').map((id) => readFileSync('/proc/1/task/' + id + '/comm', 'utf8')).join(''))`
  expect((await running.exec(['/usr/bin/node', '--eval', threads])).output).toMatch(/^https-1\nhttps-2$/m)
  publish(2, selfSigned({ names: ['new.test'] }))
  const isNew = ({ certificate }: Seen) => certificate.subjectaltname?.includes('DNS:new.test')
  await until('the new certificate', async () => (await many()).every(isNew))
  expect((await many()).every(isNew)).toBe(true)
})

/** Publishes versions as the kubelet does: a new directory, then the `..data` link flipped to it. */
function secretAt(volume: string) {
  return (version: number, pair: { cert: string; key: string }) => {
    const name = `..version_${version}`
    mkdirSync(join(volume, name))
    writeFileSync(join(volume, name, 'tls.crt'), pair.cert)
    writeFileSync(join(volume, name, 'tls.key'), pair.key)
    symlinkSync(name, join(volume, '..data_tmp'))
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
    if (version === 1) {
      symlinkSync('..data/tls.crt', join(volume, 'tls.crt'))
      symlinkSync('..data/tls.key', join(volume, 'tls.key'))
    } else {
      rmSync(join(volume, `..version_${version - 1}`), { recursive: true })
    }
  }
}
