import { execFile } from 'node:child_process'
import { formatAddress } from '@outrider/core'
import { type Fixture, type StartedContainer, startContainer } from '@outrider/core/testing'
import { GenericContainer, Wait } from 'testcontainers'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { docker } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { containerPackages, inRoot } from '../support/workspace.ts'

const image = 'outrider-test/prometheus'

beforeAll(async () => {
  await docker(
    'build',
    '--quiet',
    '--tag',
    image,
    '--file',
    inRoot('test/e2e/prometheus.Dockerfile'),
    inRoot('test/support'),
  )
})

for (const { container, makeFixture } of await containerPackages()) {
  describe(`metrics of ${container.name}`, () => {
    let fixture: Fixture
    let started: StartedContainer

    beforeEach(async () => {
      fixture = await makeFixture()
      started = await startContainer(container, fixture.env)
      await fixture.work({ ...started.addresses, admin: started.admin })
    })
    afterEach(async () => {
      await started[Symbol.asyncDispose]()
      await fixture[Symbol.asyncDispose]()
    })

    it('pass promtool check metrics', async () => {
      const text = await (await started.ask('/metrics')).text()
      expect(await promtool(text)).toEqual({ code: 0, complaints: '' })
    })

    it('are scraped by a real Prometheus, as OpenMetrics', async () => {
      const target = formatAddress(started.admin)
      const config = `
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: outrider
    static_configs: [{ targets: ['${target}'] }]
`
      const prometheus = await new GenericContainer(image)
        .withNetworkMode('host')
        .withCopyContentToContainer([{ content: config, target: '/etc/scrape.yml' }])
        .withCommand(['--web.listen-address=127.0.0.1:19090'])
        .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
        .start()
      const query = async (expression: string) => {
        const url = `http://127.0.0.1:19090/api/v1/query?query=${encodeURIComponent(expression)}`
        const answer = (await (await fetch(url)).json()) as {
          data: { result: { value: [number, string] }[] }
        }
        return answer.data.result[0]?.value[1]
      }
      try {
        await until('a scrape', async () => (await query('up')) === '1')
        expect(await query('outrider_build_info')).toBe('1')
        const metadata = await (await fetch('http://127.0.0.1:19090/api/v1/targets')).text()
        expect(metadata).toContain('"health":"up"')
      } finally {
        await prometheus.stop()
      }
    })
  })
}

function promtool(text: string): Promise<{ code: number; complaints: string }> {
  return new Promise((resolve) => {
    const args = [
      'run',
      '--rm',
      '--interactive',
      '--entrypoint',
      '/usr/bin/promtool',
      image,
      'check',
      'metrics',
    ]
    const child = execFile('docker', args, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), complaints: stdout + stderr }),
    )
    child.stdin?.end(text)
  })
}
