import { readFileSync } from 'node:fs'
import { address, type Container } from '@outrider/core'
import { definitionOf } from '@outrider/core/render'
import { type Addresses, type Fixture, onFreePorts } from '@outrider/core/testing'
import { type StartedTestContainer, Wait } from 'testcontainers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { line } from '../support/contract.ts'
import { docker, dockerResult, inspect, logOf, RidingContainer } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { containerPackages } from '../support/workspace.ts'

for (const { container, makeFixture } of await containerPackages()) {
  const image = `outrider/${container.name}`

  describe(`image ${image}`, () => {
    let fixture: Fixture
    let started: StartedTestContainer | undefined

    beforeEach(async () => {
      fixture = await makeFixture()
    })
    afterEach(async () => {
      await started?.stop()
      started = undefined
      await fixture[Symbol.asyncDispose]()
    })

    /** On the host's network, so that the fixture reaches it and it reaches the fixture, as the parts of a pod do. */
    async function start(env: Readonly<Record<string, string>> = {}): Promise<StartedTestContainer> {
      const environment = { ...onFreePorts(container), ...fixture.env, ...env }
      started = await new RidingContainer(image).withNetworkMode('host').withEnvironment(environment).start()
      return started
    }

    async function addressesOf(running: StartedTestContainer): Promise<Addresses> {
      const event = (await logOf(running)).find(({ msg }) => msg === 'started')
      const entries = Object.entries(event?.['addresses'] as Record<string, string>)
      return Object.fromEntries(entries.map(([name, text]) => [name, address.kind.parse(text)]))
    }

    const processStatus = async (running: StartedTestContainer): Promise<string> =>
      readFileSync(`/proc/${await inspect(running.getId(), '.State.Pid')}/status`, 'utf8')

    line(16, 'it works as user 65532 with a read-only root, no capability and no new privilege', async () => {
      const running = await start()
      await fixture.work(await addressesOf(running))
      const status = await processStatus(running)
      expect(status).toMatch(/^Uid:\s+65532\s+65532\s+65532\s+65532$/m)
      expect(status).toMatch(/^Gid:\s+65532\s+65532\s+65532\s+65532$/m)
      expect(status).toMatch(/^CapEff:\s+0+$/m)
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
      expect(await inspect(running.getId(), '.HostConfig.ReadonlyRootfs')).toBe(true)
    })

    line(12, 'as process 1 it finishes the work in hand after SIGTERM and exits with 0', async () => {
      const running = await start()
      const work = await fixture.beginWork(await addressesOf(running))
      await docker('kill', '--signal', 'SIGTERM', running.getId())
      await until('the drain', async () => (await logOf(running)).some(({ msg }) => msg === 'draining'))
      await work.finish()
      expect(await docker('wait', running.getId())).toBe('0')
    })

    line(
      10,
      '--help, --version, --print, --probe and its commands work in the image, which has no shell',
      async () => {
        expect((await docker('run', '--rm', image, '--help')).startsWith(`${container.name}: `)).toBe(true)
        expect(await docker('run', '--rm', image, '--version')).toContain(container.name)
        for (const kind of ['pod', 'compose', 'env', 'schema']) {
          expect(await docker('run', '--rm', image, '--print', kind)).toContain(container.name)
        }
        for (const name of Object.keys(container.commands)) {
          expect(await docker('run', '--rm', image, name, '--help')).toContain(`${container.name} ${name}`)
        }
        const running = await start({ [`${container.prefix}ADMIN`]: '127.0.0.1:19999' })
        const probe = await running.exec(['/usr/bin/node', '/app/main.js', '--probe', 'ready'])
        expect(probe.exitCode).toBe(0)
        for (const shell of ['/bin/sh', '/bin/bash', '/bin/busybox']) {
          expect((await dockerResult('run', '--rm', '--entrypoint', shell, image, '-c', 'true')).code).toBe(
            127,
          )
        }
      },
    )

    line(2, 'wrong parameters end it with exit code 2 and every problem', async () => {
      const wrong = [`${container.prefix}DRAIN=10`, `${container.prefix}X=1`]
      const settings = [...wrong, ...requiredOf(container)].flatMap((setting) => ['-e', setting])
      const run = await dockerResult('run', '--rm', ...settings, image)
      expect(run.code).toBe(2)
      expect(run.stderr.trim().split('\n')).toHaveLength(2)
    })

    line(2, 'wrong parameters end it in under a second', async () => {
      const times: number[] = []
      for (let round = 0; round < 5; round++) {
        const id = await docker('create', '-e', `${container.prefix}DRAIN=10`, image)
        await dockerResult('start', '--attach', id)
        const [begun, ended] = await Promise.all(
          ['StartedAt', 'FinishedAt'].map((at) => inspect(id, `.State.${at}`)),
        )
        times.push(Date.parse(String(ended)) - Date.parse(String(begun)))
        await docker('rm', '--volumes', id)
      }
      expect(Math.min(...times)).toBeLessThan(1000)
    })

    line(19, 'its label carries the definition, its settings are those of the Dockerfile', async () => {
      expect(
        await docker('inspect', '--format', '{{index .Config.Labels "io.outrider.definition"}}', image),
      ).toBe(definitionOf(container))
      const config = (await inspect(image, '.Config')) as Record<string, unknown>
      expect(config).toMatchObject({ User: '65532:65532', StopSignal: 'SIGTERM' })
      expect(config['Volumes'] ?? {}).toEqual(
        Object.fromEntries(Object.keys(container.volumes).map((name) => [name, {}])),
      )
      expect(Object.keys(config['ExposedPorts'] as object)).toContain(`${container.adminPort}/tcp`)
    })

    it('its HEALTHCHECK turns healthy', async () => {
      const environment = { ...fixture.env, [`${container.prefix}ADMIN`]: '127.0.0.1:19998' }
      started = await new RidingContainer(image)
        .withNetworkMode('host')
        .withEnvironment({ ...onFreePorts(container), ...environment })
        .withWaitStrategy(Wait.forHealthCheck())
        .start()
      expect(await inspect(started.getId(), '.State.Health.Status')).toBe('healthy')
    })

    it('it adds at most 1 MiB to the shared base', async () => {
      const sizes = await Promise.all(['outrider/base', image].map((name) => inspect(name, '.Size')))
      expect(Number(sizes[1]) - Number(sizes[0])).toBeLessThanOrEqual(2 ** 20)
      const layers = await Promise.all(
        ['outrider/base', image].map((name) => inspect(name, '.RootFS.Layers')),
      )
      const [base, own] = layers as [string[], string[]]
      expect(own.slice(0, base.length)).toEqual(base)
    })

    it('idle it keeps at most 30 MiB of private memory', async () => {
      const running = await start()
      await fixture.work(await addressesOf(running))
      const anonymous = /^RssAnon:\s+(\d+) kB$/m.exec(await processStatus(running))?.[1]
      expect(Number(anonymous)).toBeLessThanOrEqual(30 * 1024)
    })

    // A figure of the contract that is a time: the best of five, so that a busy machine does not fail it.
    line(11, 'ready within 500 ms of its start', async () => {
      const times: number[] = []
      for (let round = 0; round < 5; round++) {
        const running = await start()
        const event = (await logOf(running)).find(({ msg }) => msg === 'started')
        const begun = Date.parse(String(await inspect(running.getId(), '.State.StartedAt')))
        times.push(Date.parse(String(event?.['time'])) - begun)
        await running.stop()
        started = undefined
      }
      expect(Math.min(...times)).toBeLessThan(500)
    })
  })
}

it('the base image has certificates and time zones, and no shell or package manager', async () => {
  const node = (script: string) =>
    docker('run', '--rm', '--entrypoint', '/usr/bin/node', 'outrider/base', '--eval', script)
  const look = (paths: string[]) =>
    node(`console.log(${JSON.stringify(paths)}.map((path) => fs.existsSync(path)).join())`)
  expect(await look(['/etc/ssl/certs/ca-certificates.crt', '/usr/share/zoneinfo/Europe/Berlin'])).toBe(
    'true,true',
  )
  expect(await look(['/bin/sh', '/usr/bin/apt', '/usr/bin/dpkg'])).toBe('false,false,false')
  expect(await node('console.log(process.getuid())')).toBe('65532')
})

/** What must be set of a container, with examples. */
const requiredOf = ({ params }: Container): string[] =>
  params
    .filter(({ facts }) => facts.default === undefined && !facts.optional)
    .map(({ variable, facts }) => `${variable}=${facts.example ?? 'a-secret'}`)
