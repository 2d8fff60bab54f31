import { describe, expect, expectTypeOf, it } from 'vitest'
import { type Definition, defineContainer, type Params, type Values } from './container.ts'
import { type Address, address, duration, flag, listOf, oneOf, path, secret, text, url } from './kinds.ts'
import { counter, gauge, histogram } from './metrics.ts'

const idle = async () => ({ async [Symbol.asyncDispose]() {} })

const base = {
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Does nothing for the application beside it.',
  contract: [],
  admin: 9999,
  metrics: {},
} as const

const define = <const P extends Params>(
  params: P,
  more: Partial<Definition<P, Record<never, never>, never>> = {},
) => defineContainer<P, Record<never, never>>({ ...base, params, start: idle, ...more })

describe('a definition', () => {
  it('names each parameter by variable and flag, own ones first', () => {
    const { params } = define({ maxSize: duration('x', { default: '1s' }) })
    expect(params.map(({ name, variable, flag: its }) => [name, variable, its])).toEqual([
      ['maxSize', 'TEST_BOX_MAX_SIZE', '--max-size'],
      ['admin', 'TEST_BOX_ADMIN', '--admin'],
      ['drain', 'TEST_BOX_DRAIN', '--drain'],
      ['logLevel', 'TEST_BOX_LOG_LEVEL', '--log-level'],
      ['logFormat', 'TEST_BOX_LOG_FORMAT', '--log-format'],
    ])
  })

  it('may have a prefix of its own', () => {
    const { params } = define({}, { prefix: 'TESTBOX_' })
    expect(params[0]?.variable).toBe('TESTBOX_ADMIN')
  })

  it('has its admin API on all addresses, at its own port', () => {
    expect(define({}).params.find(({ name }) => name === 'admin')?.facts.default).toBe('0.0.0.0:9999')
  })

  it('without checks has no contradictions', () => {
    expect([...define({}).check({}, () => false)]).toEqual([])
  })
})

describe('is refused at import:', () => {
  it.each<readonly [string, Params, RegExp]>([
    [
      'a default that its own parser refuses',
      { wait: duration('x', { default: '10' }) },
      /"wait" has the default "10", which must be a time/,
    ],
    [
      'an example that its own parser refuses',
      { to: url('x', { example: 'here' }) },
      /"to" has the example "here", which must be a whole URL/,
    ],
    [
      'optional with a default',
      { to: url('x', { optional: true, default: 'http://a' }) },
      /"to" is optional and has a default/,
    ],
    [
      'an optional switch, which is off already',
      { on: flag('x', { optional: true }) },
      /"on" is optional and has a default/,
    ],
    ['required without an example', { to: url('x') }, /"to" is required, so it needs an example/],
    [
      'a name that every container has',
      { drain: duration('x', { default: '1s' }) },
      /every container has "drain" already/,
    ],
    ['a name in another case than camelCase', { 'log-it': flag('x') }, /"log-it" must be named in camelCase/],
    ['a name with a capital at the start', { Target: flag('x') }, /"Target" must be named in camelCase/],
    [
      'a parameter beside the file of another',
      { cert: text('x', { default: 'a' }), certFile: text('x', { default: 'a' }) },
      /TEST_BOX_CERT_FILE would mean two things/,
    ],
    [
      'port, which Kubernetes sets',
      { port: text('x', { default: 'a' }) },
      /Kubernetes may set TEST_BOX_PORT; call parameter "port" something else/,
    ],
    [
      'a name that ends in port',
      { httpPort: text('x', { default: 'a' }) },
      /Kubernetes may set TEST_BOX_HTTP_PORT/,
    ],
    [
      'a name of a Service link',
      { serviceHost: text('x', { default: 'a' }) },
      /Kubernetes may set TEST_BOX_SERVICE_HOST/,
    ],
    [
      'a flag that the runner takes for itself',
      { probe: text('x', { default: 'a' }) },
      /--probe has a meaning of its own/,
    ],
    [
      'a short flag of more than a letter',
      { verbose: text('x', { default: 'a', short: 'vv' }) },
      /"verbose" cannot have the short flag "vv"/,
    ],
    [
      'a short flag that asks for help',
      { hosts: text('x', { default: 'a', short: 'h' }) },
      /"hosts" cannot have the short flag "h"/,
    ],
    [
      'a short flag of a secret',
      { password: secret('x', { short: 'p' }) },
      /"password" cannot have the short flag "p"/,
    ],
    [
      'a short flag of two parameters',
      { a: text('x', { default: 'a', short: 'v' }), b: text('x', { default: 'a', short: 'v' }) },
      /-v would mean two things/,
    ],
    [
      'an older name without a name',
      { to: text('x', { default: 'a', formerly: [{}] }) },
      /an older name needs a flag or a variable/,
    ],
    [
      'an older flag that nobody could give',
      { to: text('x', { default: 'a', formerly: [{ flag: '-t' }] }) },
      /the older name "-t" must be like --name or NAME/,
    ],
    [
      'an older variable in small letters',
      { to: text('x', { default: 'a', formerly: [{ variable: 'to' }] }) },
      /the older name "to" must be like --name or NAME/,
    ],
    [
      'an older name that another parameter has',
      {
        to: text('x', { default: 'a', formerly: [{ variable: 'TEST_BOX_AT_FILE' }] }),
        at: text('x', { default: 'a' }),
      },
      /TEST_BOX_AT_FILE would mean two things/,
    ],
    [
      'an older name of two parameters',
      {
        to: text('x', { default: 'a', formerly: [{ flag: '--old' }] }),
        at: text('x', { default: 'a', formerly: [{ flag: '--old' }] }),
      },
      /--old would mean two things/,
    ],
    [
      'an older name that is that of today',
      { to: text('x', { default: 'a', formerly: [{ flag: '--to' }] }) },
      /--to would mean two things/,
    ],
    [
      'an older name that the runner takes for itself',
      { to: text('x', { default: 'a', formerly: [{ flag: '--man' }] }) },
      /--man would mean two things/,
    ],
    [
      'the file of a secret that another parameter is, by accident',
      { password: secret('x'), passwordFile: path('x', { optional: true }) },
      /TEST_BOX_PASSWORD_FILE would mean two things/,
    ],
    [
      'the file of a secret that is another parameter than it says',
      { password: secret('x', { fileParam: 'to' }), to: path('x', { optional: true }) },
      /TEST_BOX_PASSWORD_FILE would mean two things/,
    ],
    [
      'the file of a secret that is no path',
      { password: secret('x', { fileParam: 'passwordFile' }), passwordFile: flag('x') },
      /"passwordFile" must be a path/,
    ],
  ])('%s', (_, params, message) => {
    expect(() => define(params)).toThrow(message)
  })

  it('a retired name that is still one', () => {
    const retired = [{ flag: '--drain', takesValue: true, why: 'x', refused: false }]
    expect(() => define({}, { retired })).toThrow('--drain would mean two things')
  })

  it.each([
    ['/Status', /page "\/Status" must be like \/status/],
    ['status', /page "status" must be like \/status/],
    ['/a/b', /page "\/a\/b" must be like \/status/],
    ['/', /page "\/" must be like \/status/],
    ['/metrics', /every container has "\/metrics" already/],
  ])('the page %s', (path, message) => {
    const pages = { [path]: { title: 'x', help: 'x' } }
    expect(() => defineContainer({ ...base, params: {}, pages, start: idle })).toThrow(message)
  })

  it.each([
    ['Explain', '', /command "Explain" must be named in kebab-case/],
    ['explain', 'key', /command "explain" has the usage "key", which must be like/],
  ])('the command %s with the usage "%s"', (name, usage, message) => {
    const commands = { [name]: { usage, summary: 'x', run: () => ({ text: '' }) } }
    expect(() => define({}, { commands })).toThrow(message)
  })

  it('says which container it is', () => {
    expect(() => define({ to: url('x') })).toThrow(/^test-box: /)
  })
})

it('the flag of a secret may be an older name of it', () => {
  const formerly = [{ flag: '--password' }]
  expect(() => define({ password: secret('x', { formerly }) })).not.toThrow()
})

it('a secret may leave its file to a parameter', () => {
  const params = {
    password: secret('x', { fileParam: 'passwordFile' }),
    passwordFile: path('x', { optional: true }),
  }
  expect(() => define(params)).not.toThrow()
})

it('a required secret needs no example', () => {
  expect(() => define({ password: secret('x') })).not.toThrow()
})

describe('types', () => {
  it('gives each parameter the type of its kind', () => {
    const params = {
      wait: duration('x', { default: '1s' }),
      mode: oneOf('a', 'b')('x', { default: 'a' }),
      maybe: url('x', { optional: true }),
      many: listOf(address)('x', { example: ':1' }),
    }
    expectTypeOf<Values<typeof params>>().toEqualTypeOf<{
      readonly wait: number
      readonly mode: 'a' | 'b'
      readonly maybe: URL | undefined
      readonly many: readonly Address[]
    }>()
  })

  it('start gets exactly the declared parameters, metrics and ports', () => {
    defineContainer({
      ...base,
      params: { listen: address('x', { default: ':1' }), wait: duration('x', { default: '1s' }) },
      ports: { http: 'listen' },
      metrics: {
        requests: counter('requests_total', 'x', ['code']),
        open: gauge('open', 'x'),
        duration: histogram('duration_seconds', 'x', [], [1]),
      },
      checks: [
        function* ({ wait, admin }, nameOf, given) {
          expectTypeOf(wait).toEqualTypeOf<number>()
          expectTypeOf(admin).toEqualTypeOf<Address>()
          // @ts-expect-error no such parameter
          void nameOf('target')
          // @ts-expect-error no such parameter
          void given('target')
          yield* []
        },
      ],
      async start({ params, metrics, given }) {
        expectTypeOf(params.listen).toEqualTypeOf<Address>()
        // @ts-expect-error no such parameter
        void params.target
        // @ts-expect-error no such metric
        void metrics.errors
        const undeclared = () => {
          metrics.requests.inc({ code: '2xx' })
          // @ts-expect-error no such label
          metrics.requests.inc({ status: '2xx' })
          // @ts-expect-error it has no labels
          metrics.open.set({ code: '2xx' }, 1)
          // @ts-expect-error nor has this
          metrics.duration.observe({ code: '2xx' }, 1)
          // @ts-expect-error a counter is never set
          metrics.requests.set(1)
          // @ts-expect-error no such parameter
          given('target')
        }
        expectTypeOf(undeclared).returns.toBeVoid()
        return { addresses: { http: { host: '', port: 1 } }, async [Symbol.asyncDispose]() {} }
      },
    })
  })

  it('a command gets exactly the declared parameters', () => {
    defineContainer({
      ...base,
      params: { wait: duration('x', { default: '1s' }) },
      commands: {
        explain: {
          usage: '<key>',
          summary: 'x',
          run({ args, params, given, nameOf }) {
            expectTypeOf(args).toEqualTypeOf<readonly string[]>()
            expectTypeOf(params.wait).toEqualTypeOf<number>()
            // @ts-expect-error no such parameter
            void params.target
            // @ts-expect-error no such parameter
            given('target')
            return { text: nameOf('wait') }
          },
        },
      },
      start: idle,
    })
  })

  it('only a declared page can be served, and its view gets its data', () => {
    defineContainer({
      ...base,
      params: {},
      pages: { '/status': { title: 'x', help: 'x' } },
      async start({ page }) {
        const undeclared = () => {
          page(
            '/status',
            async () => ({ requests: 1 }),
            (data) => {
              expectTypeOf(data).toEqualTypeOf<{ requests: number }>()
              return []
            },
          )
          // @ts-expect-error no such page
          page('/state', () => 1)
        }
        expectTypeOf(undeclared).returns.toBeVoid()
        return idle()
      },
    })
    defineContainer({
      ...base,
      params: {},
      async start({ page }) {
        // @ts-expect-error it has no pages
        const undeclared = () => page('/status', () => 1)
        expectTypeOf(undeclared).returns.toBeVoid()
        return idle()
      },
    })
  })

  const params = {
    listen: address('x', { default: ':1' }),
    maybe: address('x', { optional: true }),
    wait: duration('x', { default: '1s' }),
    later: duration('x', { optional: true }),
  }

  it('a port names an address parameter, optional or not', () => {
    defineContainer({ ...base, params, ports: { a: 'listen', b: 'maybe' }, start: idle })
  })

  it('a port that names no parameter does not compile', () => {
    // @ts-expect-error there is no parameter `nothing`
    defineContainer({ ...base, params, ports: { a: 'nothing' }, start: idle })
  })

  it('a port that names another kind does not compile', () => {
    // @ts-expect-error `wait` is no address
    defineContainer({ ...base, params, ports: { a: 'wait' }, start: idle })
  })

  it('a port that names an optional parameter of another kind does not compile', () => {
    // @ts-expect-error `later` is no address
    defineContainer({ ...base, params, ports: { a: 'later' }, start: idle })
  })

  it('the address of an undeclared port does not compile', () => {
    const started = { addresses: { https: { host: '', port: 1 } }, async [Symbol.asyncDispose]() {} }
    // @ts-expect-error the port is called http
    defineContainer({ ...base, params, ports: { http: 'listen' }, start: async () => started })
  })

  it('a counter whose name does not end in _total does not compile', () => {
    // @ts-expect-error Prometheus naming practice
    counter('requests', 'x')
  })
})
