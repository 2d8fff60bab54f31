import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { afterEach, beforeAll, describe, expect } from 'vitest'
import { type Document, parseAllDocuments } from 'yaml'
import { line } from '../support/contract.ts'
import { gitWeb } from '../support/git-web-story.ts'
import { until } from '../support/program.ts'
import { shardedRedis } from '../support/sharded-redis-story.ts'
import { run, type Story } from '../support/story.ts'
import { containerPackages, inRoot } from '../support/workspace.ts'

/** What a client of each story sees; the very files of `examples/` are run. */
const stories: Readonly<Record<string, Story>> = {
  'legacy-https': {
    images: ['node:24-bookworm-slim', 'outrider/sidecar-https:latest'],
    check: async () => {
      const body = await until('the application over HTTPS', () =>
        get('https://127.0.0.1:8443/story').catch(() => false),
      )
      expect(body).toMatch(/^Hello from \/story, asked over https by /)
    },
  },
  'mutual-tls': {
    images: ['node:24-bookworm-slim', 'outrider/sidecar-https:latest', 'outrider-example/tools:latest'],
    check: async (within) => {
      const call = (...args: string[]) => within('client', 'call.sh', ...args)
      const shop =
        /^Hello from \/story, asked by Hash=[0-9a-f]{64};Subject="CN=shop";DNS=shop\.example\.com\n$/
      const seen = () => call('shop', '/story').catch(() => false as const)
      expect(await until('the client that a DNS name lets in', seen)).toMatch(shop)
      const reports = await call('reports', '/story')
      expect(reports).toContain(';URI=spiffe://example.org/ns/office/sa/reports\n')
      expect(await call('shop', '/story', '--header', 'X-Forwarded-Client-Cert: Subject="CN=admin"')).toMatch(
        shop,
      )

      // The connection ends, in one of the ways that curl has names for, and there is no answer of any status (22).
      const refused = /curl: \((16|18|35|52|55|56|92)\) /
      await expect(call('stranger', '/story')).rejects.toThrow(refused)
      const without = 'curl --silent --show-error --cacert /clients/ca.crt $SERVER/story'
      await expect(within('client', 'sh', '-c', without)).rejects.toThrow(refused)

      const metrics = await within('client', 'sh', '-c', 'curl --silent $ADMIN/metrics')
      expect(metrics).toContain('_handshakes_total{outcome="denied"} 1\n')
      expect(metrics).toContain('_handshakes_total{outcome="no-certificate"} 1\n')
    },
  },
  'sharded-redis': shardedRedis,
  'git-web': gitWeb,
}

line(20, 'every example has a story here, and every container an example', async () => {
  expect(readdirSync(inRoot('examples')).sort()).toEqual(Object.keys(stories).sort())
  const used = Object.values(stories).flatMap(({ images }) => images)
  for (const { container } of await containerPackages())
    expect(used).toContain(`outrider/${container.name}:latest`)
})

for (const name of Object.keys(stories)) {
  line(20, `what ${name} serves, or serves by, is the same by compose and as a pod`, () => {
    const [configMap] = parseAllDocuments(readFileSync(inRoot('examples', name, 'pod.yaml'), 'utf8'))
    const { data } = (configMap as Document).toJS() as { data: Record<string, string> }
    for (const [file, text] of Object.entries(data))
      expect(text).toBe(readFileSync(inRoot('examples', name, file), 'utf8'))
  })
}

for (const [name, { images, check, restore }] of Object.entries(stories)) {
  const folder = inRoot('examples', name)

  const compose = (...args: string[]) => run('docker', 'compose', '--project-directory', folder, ...args)

  describe(`example ${name}`, () => {
    beforeAll(() => compose('build'))
    afterEach(async () => {
      restore?.()
      await compose('--profile', '*', 'down', '--volumes', '--timeout', '20')
      await run('podman', 'kube', 'down', `${folder}/pod.yaml`).catch(() => '')
    })

    line(20, 'it runs by docker compose up', async () => {
      await compose('up', '--detach')
      await check((container, ...command) => compose('exec', '-T', container, ...command), 'compose')
    })

    line(20, 'its pod.yaml runs as a real pod', async () => {
      for (const image of images) await copyToPodman(image)
      await run('podman', 'kube', 'play', `${folder}/pod.yaml`)
      await check((container, ...command) => run('podman', 'exec', `${name}-${container}`, ...command), 'pod')
    })
  })
}

/** Podman keeps its own images. */
const copyToPodman = (image: string): Promise<string> =>
  run('bash', '-c', 'set -o pipefail; docker save "$1" | podman load --quiet', 'copy', image)

function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { rejectUnauthorized: false, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve(body))
      response.on('error', reject)
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
