import { networkInterfaces } from 'node:os'
import { expect } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { forEveryContainer, line } from '../support/contract.ts'
import { type Program, until } from '../support/program.ts'

forEveryContainer((subject) => {
  line(5, '/healthz is 200 while everything outside is broken', async () => {
    for (const { env = {} } of subject.fixture.outages) {
      const program = await subject.start(env)
      expect((await program.ask('/healthz')).status).toBe(200)
    }
  })

  line(6, '/readyz is 200 when ready, and 503 naming the closed gate while it drains', async () => {
    const program = await subject.start()
    expect(await ready(program)).toMatchObject({ ready: true })
    const at = await program.addresses()
    const work = await subject.fixture.beginWork(at)
    program.signal('SIGTERM')
    const closed = await until('not ready', async () => {
      const response = await program.ask('/readyz')
      return response.status === 503 && ((await response.json()) as unknown)
    })
    expect(closed).toMatchObject({
      ready: false,
      gates: { drain: { open: false, reason: expect.stringMatching(/drain/) } },
    })
    await work.finish()
  })

  line(7, '/metrics gives text 0.0.4 and OpenMetrics by Accept, names as they must be', async () => {
    const program = await subject.start()
    await subject.fixture.work(await program.addresses())
    const text = await program.ask('/metrics')
    expect(text.headers.get('content-type')).toContain('text/plain; version=0.0.4')
    const body = await text.text()
    const prefix = `outrider_${subject.container.name.replaceAll('-', '_')}_`
    const families = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => ({
      name,
      type,
    }))
    for (const { name, type } of families) {
      expect(name).toMatch(/^[a-z_][a-z0-9_]*$/)
      if (type === 'counter') expect(name).toMatch(/_total$/)
      if (name.startsWith('outrider_') && name !== 'outrider_build_info')
        expect(name.startsWith(prefix)).toBe(true)
    }
    for (const metric of [
      'outrider_build_info',
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_open_fds',
    ]) {
      expect(families.map(({ name }) => name)).toContain(metric)
    }
    const open = await program.ask('/metrics', {
      headers: { accept: 'application/openmetrics-text; version=1.0.0' },
    })
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text')
    expect((await open.text()).endsWith('# EOF\n')).toBe(true)
  })

  line(
    7,
    'the number of series is bounded, whatever clients do',
    async () => {
      const program = await subject.start()
      const at = await program.addresses()
      const work = async (rounds: number) => {
        for (let round = 0; round < rounds; round++) await subject.fixture.work(at)
      }
      const series = async () => {
        const rows = (await (await program.ask('/metrics')).text()).split('\n')
        return rows.filter((row) => row.startsWith('outrider_')).length
      }
      await work(20)
      const before = await series()
      await work(60)
      expect(await series()).toBe(before)
    },
    60_000,
  )

  line(8, '/params gives each value and its source, / the same as HTML or JSON', async () => {
    const program = await subject.start({ [`${subject.container.prefix}DRAIN`]: '3s' })
    const params = (await (await program.ask('/params')).json()) as Record<string, unknown>
    expect(params['drain']).toEqual({ value: '3s', source: 'environment' })
    expect(Object.keys(params).sort()).toEqual(subject.container.params.map(({ name }) => name).sort())
    const json = (await (await program.ask('/', { headers: { accept: 'application/json' } })).json()) as {
      params: unknown
    }
    expect(json.params).toEqual(params)
    const page = await program.ask('/', { headers: { accept: 'text/html,*/*;q=0.8' } })
    expect(page.headers.get('content-type')).toContain('text/html')
    const html = await page.text()
    for (const name of Object.keys(params)) expect(html).toContain(`<code>${name}</code>`)
  })

  line(8, 'each page of its own is linked by /, and answers as HTML and JSON', async () => {
    const program = await subject.start()
    await subject.fixture.work(await program.addresses())
    const paths = Object.keys(subject.container.pages)
    const { links } = (await (await program.ask('/?format=json')).json()) as { links: string[] }
    expect(links).toEqual(expect.arrayContaining(paths))
    for (const path of paths) {
      const json = await program.ask(path)
      expect(json.headers.get('content-type')).toContain('application/json')
      expect(await json.json()).toBeTruthy()
      const html = await program.ask(`${path}?format=html`)
      expect(html.headers.get('content-type')).toContain('text/html')
      expect(await html.text()).toMatch(/<h1>.+<\/h1>/)
    }
  })

  line(9, 'POST /drain from loopback drains and ends the process with 0', async () => {
    const program = await subject.start()
    expect((await program.ask('/drain', { method: 'POST' })).status).toBe(202)
    expect(await program.ended()).toBe(0)
  })

  line(9, 'POST /drain from another address, or from a web page, is refused', async () => {
    const program = await subject.start({ [`${subject.container.prefix}ADMIN`]: '0.0.0.0:0' })
    await ready(program)
    const { admin } = await program.addresses()
    if ('path' in admin) throw new Error('admin has a port')
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((candidate) => candidate?.family === 'IPv4' && !candidate.internal)
    if (outside === undefined) throw new Error('this machine has no address beside loopback')
    const foreign = await fetch(`http://${outside.address}:${admin.port}/drain`, { method: 'POST' })
    const page = await fetch(`http://127.0.0.1:${admin.port}/drain`, {
      method: 'POST',
      headers: { origin: 'http://evil.test' },
    })
    expect([foreign.status, page.status]).toEqual([403, 403])
    expect((await fetch(`http://127.0.0.1:${admin.port}/readyz`)).status).toBe(200)
  })

  line(10, '--help names every parameter; --version says the version', async () => {
    const help = subject.program({}, ['--help'])
    expect(await help.ended()).toBe(0)
    for (const { variable } of subject.container.params) expect(help.stdout).toContain(variable)
    const version = subject.program({}, ['--version'])
    expect(await version.ended()).toBe(0)
    expect(version.stdout).toMatch(/^\S+ \d+\.\d+\.\d+ /)
  })

  line(10, '--man names every parameter, older names, and every promise of its own', async () => {
    const man = subject.program({}, ['--man'])
    expect(await man.ended()).toBe(0)
    const { params, retired, contract } = subject.container
    const older = [...params.flatMap(({ facts }) => facts.formerly ?? []), ...retired]
    const names = older.flatMap(({ flag, variable }) => [flag, variable]).filter((name) => name !== undefined)
    for (const name of [...params.map(({ variable }) => variable), ...names])
      expect(man.stdout).toContain(name)
    const words = (text: string) => text.replaceAll(/\s+/g, ' ')
    for (const promise of contract) expect(words(man.stdout)).toContain(words(promise))
  })

  line(10, '--help lists its commands, and each says how it is called', async () => {
    const help = subject.program({}, ['--help'])
    await help.ended()
    for (const [name, { usage, summary }] of Object.entries(subject.container.commands)) {
      expect(help.stdout).toContain(`  ${name} ${usage}`.trimEnd())
      const own = subject.program({}, [name, '--help'])
      expect(await own.ended()).toBe(0)
      expect(own.stdout).toContain(summary)
      const stray = subject.program({}, [name, '--no-such-flag-at-all'])
      expect(await stray.ended()).toBe(2)
    }
  })

  line(10, '--probe asks the running container; it fails when there is none', async () => {
    const program = await subject.start()
    await ready(program)
    const { admin } = await program.addresses()
    if ('path' in admin) throw new Error('admin has a port')
    for (const kind of ['live', 'ready']) {
      const flags = ['--probe', kind, '--admin', `127.0.0.1:${admin.port}`]
      expect(await subject.program({}, flags).ended()).toBe(0)
    }
    program.signal('SIGKILL')
    await program.ended()
    expect(await subject.program({}, ['--probe', 'live', '--admin', `127.0.0.1:${admin.port}`]).ended()).toBe(
      1,
    )
  })

  line(
    10,
    '--print writes a pod, a compose file, an env file and a JSON Schema that hold together',
    async () => {
      const print = async (kind: string) => {
        const program = subject.program(subject.fixture.env, [`--print=${kind}`])
        expect(await program.ended()).toBe(0)
        return program.stdout
      }
      const pod = parseYaml(await print('pod')) as { spec: { initContainers: Record<string, unknown>[] } }
      expect(pod.spec.initContainers[0]).toMatchObject({
        name: subject.container.name,
        restartPolicy: 'Always',
        securityContext: { runAsUser: 65532, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      })
      const stack = parseYaml(await print('compose')) as { services: Record<string, unknown> }
      expect(stack.services[subject.container.name]).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
      const schema = JSON.parse(await print('schema')) as {
        properties: Record<string, { deprecated?: boolean }>
      }
      const current = Object.entries(schema.properties).filter(([, { deprecated }]) => !deprecated)
      expect(current.map(([name]) => name)).toEqual(subject.container.params.map(({ variable }) => variable))
      const env = await print('env')
      for (const { variable, facts } of subject.container.params) {
        const text = subject.fixture.env[variable]
        if (text === undefined) continue
        if (facts.secret) expect(env).not.toContain(text)
        else expect(env).toMatch(new RegExp(`^${variable}=`, 'm'))
      }
    },
  )
})

/** What `/readyz` says once it is 200. */
const ready = (program: Program): Promise<unknown> =>
  until('ready', async () => {
    const response = await program.ask('/readyz')
    return response.status === 200 && ((await response.json()) as unknown)
  })
