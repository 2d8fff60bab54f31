import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { askableSignals } from './signals.ts'
import { version } from './version.ts'

/** A container whose behaviour `ACT` chooses; it listens nowhere but for its admin API. */
const program = `
import { address, askableSignals, defineContainer, path, run, secret, StartError, text } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)}
const { ACT, ONE_DASH } = process.env
const never = new Promise(() => {})
await run(defineContainer({
  name: 'test-box', pattern: 'sidecar', summary: 'Does what a test wants.', contract: [], admin: 9999, singleDash: ONE_DASH === 'yes',
  params: {
    label: text('What to say.', { example: 'hello', formerly: [{ variable: 'OLD_BOX_LABEL', flag: '--text' }] }),
    rules: path('The rules.', { optional: true }),
    password: secret('The password.', { optional: true }),
  },
  metrics: {},
  checks: [function* ({ label, rules }) { if (label === 'bare' && !rules) yield 'bare needs rules' }],
  commands: {
    explain: {
      usage: '<key>...', summary: 'Says where each key is.',
      run: ({ args, params, given }) => ({ text: args.map((key) => key + ' ' + params.drain + ' ' + given('drain')).join('\\n') }),
    },
    diff: {
      usage: '<old> <new>', summary: 'Compares two files.',
      run: async ({ args, readFile }) => ({ text: args.map(readFile).join(''), code: 3 }),
    },
    greet: { usage: '[name]', summary: 'Says what the label is.', run: ({ params }) => ({ text: params.label + ', ' + params.password }) },
    refuse: { usage: '', summary: 'Refuses.', run() { throw new StartError('the rules\\nname ' + process.env.TEST_BOX_PASSWORD) } },
    break: { usage: '', summary: 'Breaks.', run() { throw new Error('a defect in ' + process.env.TEST_BOX_PASSWORD) } },
    wait: { usage: '', summary: 'Waits.', run() { process.stdout.write('waiting'); setInterval(() => {}, 1000); return never } },
  },
  retired: [{ flag: '--colour', takesValue: true, why: 'it has none', refused: false }],
  async start({ params, follow, log, signal, onSignal, hide }) {
    for (const name of ACT === 'signals' ? askableSignals : []) onSignal(name, () => log.info(name))
    if (ACT === 'hidden') {
      hide('token-1')
      setTimeout(() => { throw new Error('crashed with token-1') }, 50)
    }
    if (ACT === 'refuse') throw new StartError('TEST_BOX_LABEL names nobody: choose another')
    if (ACT === 'break') throw new Error('a defect')
    if (ACT === 'wait') { log.info('waiting'); await never }
    if (ACT === 'crash') setTimeout(() => { throw new Error('crashed with ' + params.password) }, 50)
    if (ACT === 'reject') setTimeout(() => Promise.reject(new Error('rejected with ' + params.password)), 50)
    if (params.rules) await follow('rules', ['rules'], () => {})
    const over = new Promise((end, fail) => {
      if (ACT === 'done' || ACT === 'failed') end(ACT)
      if (ACT === 'lasting') end('done')
      if (ACT === 'broken') setTimeout(() => fail(new Error('broke with ' + params.password)), 50)
      if (ACT === 'late') signal.addEventListener('abort', () => setTimeout(fail, 50, new Error('a defect')))
    })
    return {
      ...(/done|lasting|failed|broken|late/.test(ACT) && { ended: over }),
      drain: () => ACT === 'late' ? never : ACT === 'endless' ? never : Promise.resolve(),
      async [Symbol.asyncDispose]() {
        if (ACT === 'lasting') {
          log.info('disposing')
          await new Promise((told) => process.once('SIGTERM', told))
        }
        log.info('disposed')
      },
    }
  },
}))`

const home = mkdtempSync(join(tmpdir(), 'run-'))
const main = join(home, 'main.mjs')
writeFileSync(main, program)
afterAll(() => rmSync(home, { recursive: true }))

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

interface Options {
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly act?: string
}

class Program {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly ended: Promise<number | string>

  constructor({ args = [], env = {}, act = '' }: Options) {
    const { PATH = '' } = process.env
    this.child = spawn(process.execPath, [main, ...args], {
      env: { PATH, ACT: act, TEST_BOX_ADMIN: '127.0.0.1:0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(this.child)
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stdout += chunk
    })
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr += chunk
    })
    this.ended = once(this.child, 'close').then(([code, signal]: unknown[]) =>
      typeof code === 'number' ? code : String(signal),
    )
  }

  events(): Record<string, unknown>[] {
    const complete = this.stdout.slice(0, this.stdout.lastIndexOf('\n') + 1)
    return complete
      .split('\n')
      .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Record<string, unknown>]))
  }

  async logged(msg: string): Promise<Record<string, unknown>> {
    const find = () => this.events().find((event) => event['msg'] === msg)
    await expect.poll(find, { timeout: 15_000, message: `${msg}\n${this.stderr}` }).toBeDefined()
    return find() ?? {}
  }

  async admin(): Promise<string> {
    const { addresses } = (await this.logged('started')) as { addresses: { admin: string } }
    return addresses.admin
  }
}

const label = { TEST_BOX_LABEL: 'a' }

/** Runs a program that ends by itself. */
async function ran(options: Options) {
  const run = new Program(options)
  const code = await run.ended
  return { code, stdout: run.stdout, stderr: run.stderr }
}

async function serving(options: Options = {}): Promise<Program> {
  const run = new Program({ ...options, env: { ...label, ...options.env } })
  await run.logged('started')
  return run
}

describe('what starts nothing', () => {
  it.each(['--help', '-h', '-?'])('%s explains every parameter, whatever else is wrong', async (flag) => {
    const { code, stdout } = await ran({ args: ['--nonsense', flag], env: { TEST_BOX_NONSENSE: '1' } })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^test-box: Does what a test wants\.\n/)
    expect(stdout).toContain('--label <text>, TEST_BOX_LABEL')
  })

  it('--man gives the whole manual, whatever else is wrong', async () => {
    const { code, stdout } = await ran({ args: ['--nonsense', '--man'], env: { TEST_BOX_NONSENSE: '1' } })
    expect(code).toBe(0)
    expect(stdout).toContain('--label <text>, TEST_BOX_LABEL')
    expect(stdout).toContain('--text, OLD_BOX_LABEL')
    expect(stdout).toContain('POST /drain')
  })

  it('--version gives the version, and that of Node', async () => {
    expect(await ran({ args: ['--version'] })).toEqual({
      code: 0,
      stdout: `test-box ${version} (node ${process.version})\n`,
      stderr: '',
    })
  })

  it.each([
    ['-help', 'Usage: test-box'],
    ['-man', '--text, OLD_BOX_LABEL'],
    ['-version', `test-box ${version}`],
  ])('%s with one dash is taken where the other flags are', async (flag, said) => {
    expect(await ran({ args: [flag], env: { ONE_DASH: 'yes' } })).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(said),
    })
    expect(await ran({ args: [flag] })).toMatchObject({ code: 2, stdout: '' })
  })

  it.each([
    ['pod', 'kind: Pod'],
    ['compose', 'services:'],
    ['env', 'TEST_BOX_LABEL=hello'],
    ['schema', '"$schema"'],
  ])('--print %s gives a snippet without required parameters', async (kind, part) => {
    const { code, stdout } = await ran({ args: ['--print', kind] })
    expect([code, stdout]).toEqual([0, expect.stringContaining(part)])
  })

  it('--print takes the parameters beside it, on either side', async () => {
    const { stdout } = await ran({ args: ['--label', 'left', '--print=env', '--log-level', 'debug'] })
    expect(stdout).toContain('\nTEST_BOX_LABEL=left\n')
    expect(stdout).toContain('\nTEST_BOX_LOG_LEVEL=debug\n')
  })

  it('--print takes older names beside it, and prints those of today', async () => {
    const { stdout } = await ran({ args: ['--print', 'env'], env: { OLD_BOX_LABEL: 'old' } })
    expect(stdout).toContain('\nTEST_BOX_LABEL=old\n')
    const byFlag = await ran({ args: ['--print', 'env', '--text', 'old', '--colour', 'red'] })
    expect(byFlag.stdout).toContain('\nTEST_BOX_LABEL=old\n')
  })

  it('--print never prints a secret', async () => {
    const { stdout } = await ran({ args: ['--print', 'pod'], env: { TEST_BOX_PASSWORD: 'hunter2' } })
    expect(stdout).toContain('TEST_BOX_PASSWORD')
    expect(stdout).not.toMatch(/hunter2|redacted/)
  })

  it.each([
    [['--print'], 'test-box: --print must be one of pod, compose, env, schema\n'],
    [['--print', 'xml'], 'test-box: --print must be one of pod, compose, env, schema\n'],
    [['--probe', 'dead'], 'test-box: --probe must be one of live, ready\n'],
    [['--print', 'env', '--labl', 'x'], 'test-box: --labl is no flag of test-box: did you mean --label?\n'],
  ])('%j is a mistake, with exit code 2', async (args, stderr) => {
    expect(await ran({ args })).toEqual({ code: 2, stdout: '', stderr })
  })
})

describe('--probe', () => {
  it.each(['live', 'ready'])(
    '%s is 0 where the container answers, and needs no required parameter',
    async (kind) => {
      const run = await serving()
      const { code } = await ran({ args: ['--probe', kind], env: { TEST_BOX_ADMIN: await run.admin() } })
      expect(code).toBe(0)
    },
  )

  it('is 1 where nothing answers, and says why', async () => {
    const { code, stdout } = await ran({ args: ['--probe', 'live'], env: { TEST_BOX_ADMIN: '127.0.0.1:1' } })
    expect([code, stdout]).toEqual([1, expect.stringContaining('ECONNREFUSED')])
  })
})

describe('a command', () => {
  it('answers on stdout and starts nothing, with what is required left out', async () => {
    expect(await ran({ args: ['explain', 'a', 'b'] })).toEqual({
      code: 0,
      stdout: 'a 10000 false\nb 10000 false\n',
      stderr: '',
    })
  })

  it('takes the parameters of the container, by flag on any side and by environment', async () => {
    const byFlag = await ran({ args: ['explain', 'a', '--drain', '1s', 'b', '--log-level=debug'] })
    expect(byFlag.stdout).toBe('a 1000 true\nb 1000 true\n')
    const byEnvironment = await ran({ args: ['explain', 'a'], env: { TEST_BOX_DRAIN: '2s' } })
    expect(byEnvironment.stdout).toBe('a 2000 true\n')
  })

  it('takes a flag with one dash, where the container does', async () => {
    const env = { ONE_DASH: 'yes' }
    const { stdout } = await ran({ args: ['explain', 'a', '-drain', '1s', '--', '-drain'], env })
    expect(stdout).toBe('a 1000 true\n-drain 1000 true\n')
  })

  it('takes an argument that begins with a dash after --', async () => {
    const { stdout } = await ran({ args: ['explain', '--drain', '1s', '--', '--help', '-x'] })
    expect(stdout).toBe('--help 1000 true\n-x 1000 true\n')
  })

  it('reads files and ends with the exit code of its answer', async () => {
    const [old, young] = [join(home, 'old'), join(home, 'new')]
    writeFileSync(old, 'one\n')
    writeFileSync(young, 'two\n')
    expect(await ran({ args: ['diff', old, young] })).toEqual({ code: 3, stdout: 'one\ntwo\n', stderr: '' })
  })

  it('says which file it cannot read, with exit code 1', async () => {
    const { code, stdout, stderr } = await ran({ args: ['diff', '/no/such/file', home] })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^test-box: \/no\/such\/file cannot be read: ENOENT.*\n$/)
  })

  it('is refused with every mistake in the parameters, with exit code 2', async () => {
    const { code, stdout, stderr } = await ran({
      args: ['explain', 'a', '--labl', 'x', '--log-level', 'loud'],
      env: { TEST_BOX_DRAIN: '10' },
    })
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.trimEnd().split('\n')).toEqual([
      'test-box: --labl is no flag of test-box: did you mean --label?',
      expect.stringMatching(/^test-box: TEST_BOX_DRAIN \(--drain\) is "10" but must be a time/),
      expect.stringMatching(/^test-box: TEST_BOX_LOG_LEVEL \(--log-level\) is "loud"/),
    ])
  })

  it('is refused parameters that contradict each other', async () => {
    const { code, stderr } = await ran({ args: ['explain', 'a', '--label', 'bare'] })
    expect([code, stderr]).toEqual([2, 'test-box: bare needs rules\n'])
  })

  it('that reads what is required and not set is refused as a start is', async () => {
    const refused = await ran({ args: ['greet'] })
    expect([refused.code, refused.stderr]).toEqual([
      2,
      'test-box: TEST_BOX_LABEL (--label) is required. What to say. For example TEST_BOX_LABEL=hello\n',
    ])
    expect((await ran({ args: ['greet', '--label', 'hi'] })).stdout).toBe('hi, undefined\n')
  })

  it.each([
    [['explain']],
    [['explain', '--drain', '1s']],
    [['diff', 'one']],
    [['diff', 'one', 'two', 'three']],
    [['greet', 'one', 'two']],
  ])('%j is told how many arguments it takes, with exit code 2', async (args) => {
    const { code, stdout, stderr } = await ran({ args, env: label })
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(`Usage: test-box ${args[0]} `)
  })

  it('shows no secret in what it answers', async () => {
    const { stdout } = await ran({ args: ['greet'], env: { ...label, TEST_BOX_PASSWORD: 'hunter2' } })
    expect(stdout).toBe('a, [redacted]\n')
  })

  it('that fails for a reason the user can mend says so in one line, with exit code 1', async () => {
    expect(await ran({ args: ['refuse'], env: { TEST_BOX_PASSWORD: 'hunter2' } })).toEqual({
      code: 1,
      stdout: '',
      stderr: 'test-box: the rules\\u000aname [redacted]\n',
    })
  })

  it('that fails for a defect of ours shows the stack, without secrets', async () => {
    const { code, stderr } = await ran({ args: ['break'], env: { TEST_BOX_PASSWORD: 'hunter2' } })
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^test-box: Error: a defect in \[redacted\]\n {4}at /),
    ])
  })

  it('ends at the first signal', async () => {
    const run = new Program({ args: ['wait'] })
    await expect.poll(() => run.stdout, { timeout: 15_000 }).toBe('waiting')
    run.child.kill('SIGINT')
    expect(await run.ended).toBe(1)
  })

  it.each(['--help', '-h'])('%s says how it is called, whatever else is wrong', async (flag) => {
    const { code, stdout } = await ran({ args: ['explain', '--nonsense', flag] })
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^test-box explain: Says where each key is\.\n\nUsage: test-box explain <key>\.\.\. /,
    )
  })

  it('that does not exist is refused with the names of those that do', async () => {
    const { code, stderr } = await ran({ args: ['explian', 'a'], env: label })
    expect([code, stderr]).toEqual([
      2,
      'test-box: "explian" is no command of test-box, whose commands are: explain, diff, greet, refuse, break, wait; flags look like --name value\n',
    ])
  })

  it('stands first: after a flag it is none', async () => {
    const { code, stderr } = await ran({ args: ['--drain', '1s', 'explain', 'a'], env: label })
    expect([code, stderr]).toEqual([2, 'test-box: "explain" is no flag: flags look like --name value\n'])
  })
})

describe('wrong parameters', () => {
  it('are all listed at once, one a line, with exit code 2', async () => {
    const { code, stdout, stderr } = await ran({ args: ['--labl', 'x'], env: { TEST_BOX_DRAIN: '10' } })
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.trimEnd().split('\n')).toEqual([
      'test-box: --labl is no flag of test-box: did you mean --label?',
      expect.stringMatching(/^test-box: TEST_BOX_LABEL \(--label\) is required/),
      expect.stringMatching(/^test-box: TEST_BOX_DRAIN \(--drain\) is "10" but must be a time/),
    ])
  })

  it('in a file of more than 1 MiB are not read', async () => {
    const file = join(home, 'label')
    writeFileSync(file, 'x'.repeat(1_048_577))
    const { code, stderr } = await ran({ env: { TEST_BOX_LABEL_FILE: file } })
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('which cannot be read: it is larger than 1 MiB'),
    ])
  })
})

describe('a start that fails', () => {
  it('for a reason the user can mend says so in one line, with exit code 1', async () => {
    const { code, stdout } = await ran({ act: 'refuse', env: label })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      level: 'error',
      msg: 'start failed',
      error: 'TEST_BOX_LABEL names nobody: choose another',
    })
  })

  it('for a defect of ours shows the stack', async () => {
    const { code, stdout } = await ran({ act: 'break', env: label })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ error: expect.stringMatching(/^Error: a defect\n {4}at /) })
  })
})

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s drains, then ends with 0', async (signal) => {
    const run = await serving()
    run.child.kill(signal)
    expect(await run.ended).toBe(0)
    expect(run.events().map((event) => event['msg'])).toEqual(
      expect.arrayContaining(['draining', 'drained', 'disposed']),
    )
  })

  it('SIGTERM ends with 1 when the deadline cut something off', async () => {
    const run = await serving({ act: 'endless', env: { TEST_BOX_DRAIN: '50ms' } })
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(1)
  })

  it('a second one ends at once', async () => {
    const run = await serving({ act: 'endless', env: { TEST_BOX_DRAIN: '1h' } })
    run.child.kill('SIGTERM')
    await run.logged('draining')
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(1)
  })

  it('SIGTERM while the start waits ends with 0', async () => {
    const run = new Program({ act: 'wait', env: label })
    await run.logged('waiting')
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('SIGHUP looks at the watched files', async () => {
    const rules = join(home, 'rules')
    writeFileSync(rules, 'one')
    const run = await serving({ env: { TEST_BOX_RULES: rules } })
    writeFileSync(rules, 'two')
    run.child.kill('SIGHUP')
    await run.logged('rules reloaded')
    expect(run.child.exitCode).toBeNull()
  })
})

describe('a signal that a container may ask for', () => {
  it('reaches it', async () => {
    const run = await serving({ act: 'signals' })
    for (const signal of askableSignals) {
      run.child.kill(signal)
      await run.logged(signal)
    }
  })

  it('does nothing where it does not, and opens no debugger', async () => {
    const run = await serving()
    for (const signal of askableSignals) run.child.kill(signal)
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(0)
    expect(run.stderr).toBe('')
  })
})

describe('a container that ends by itself', () => {
  it.each([
    ['done', 0],
    ['failed', 1],
  ])('%s: is disposed of without a drain, and ends with %i', async (act, code) => {
    const run = new Program({ act, env: label })
    expect(await run.ended).toBe(code)
    const messages = run.events().map(({ msg }) => msg)
    expect(messages).toEqual(expect.arrayContaining(['ended', 'disposed']))
    expect(messages).not.toContain('draining')
  })

  it('ends as it would when it is told to stop after that', async () => {
    const run = new Program({ act: 'lasting', env: label })
    await run.logged('disposing')
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(0)
  })

  it('crashes where it breaks', async () => {
    const run = await serving({ act: 'broken', env: { TEST_BOX_PASSWORD: 'hunter2' } })
    expect(await run.ended).toBe(1)
    expect(run.events().at(-1)).toMatchObject({
      msg: 'crashed',
      error: expect.stringContaining('broke with [redacted]'),
    })
  })

  it('crashes where it breaks while it drains', async () => {
    const run = await serving({ act: 'late' })
    run.child.kill('SIGTERM')
    expect(await run.ended).toBe(1)
    expect(run.events().at(-1)).toMatchObject({ msg: 'crashed', error: expect.stringContaining('a defect') })
  })
})

it('POST /drain ends with 0', async () => {
  const run = await serving()
  const { status } = await fetch(`http://${await run.admin()}/drain`, { method: 'POST' })
  expect([status, await run.ended]).toEqual([202, 0])
})

describe('a crash', () => {
  it.each([
    ['crash', 'crashed with [redacted]'],
    ['reject', 'rejected with [redacted]'],
  ])('by %s is logged with its stack and without secrets, and ends with 1', async (act, message) => {
    const run = await serving({ act, env: { TEST_BOX_PASSWORD: 'hunter2' } })
    expect(await run.ended).toBe(1)
    expect(run.events().at(-1)).toMatchObject({
      level: 'error',
      msg: 'crashed',
      error: expect.stringContaining(message),
    })
    expect(run.stdout + run.stderr).not.toContain('hunter2')
  })

  it('shows no secret that became known while running', async () => {
    const run = await serving({ act: 'hidden' })
    expect(await run.ended).toBe(1)
    expect(run.events().at(-1)).toMatchObject({ error: expect.stringContaining('crashed with [redacted]') })
    expect(run.stdout + run.stderr).not.toContain('token-1')
  })
})

it('a reader of the log that goes away does not end the container', async () => {
  const rules = join(home, 'rules')
  writeFileSync(rules, '1')
  const run = await serving({ env: { TEST_BOX_RULES: rules } })
  const admin = await run.admin()
  run.child.stdout?.destroy()
  run.child.stderr?.destroy()
  const scrape = async () => (await fetch(`http://${admin}/metrics`)).text()
  // Each reload writes a line to nobody: the first fails, the second finds the stream broken.
  for (const count of [2, 3]) {
    writeFileSync(rules, String(count))
    await expect
      .poll(scrape, { timeout: 15_000 })
      .toContain(`config_reloads_total{file="rules",result="taken"} ${count}`)
  }
})
