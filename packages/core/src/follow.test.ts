import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import { requireFile } from './follow.ts'
import { path as pathKind } from './kinds.ts'
import { type StartedContainer, startContainer } from './testing.ts'
import { watchFiles } from './watch.ts'

let directory = ''
let rules = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'follow-'))
  rules = join(directory, 'rules')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** Takes a rule unless it begins with "bad". */
function box() {
  const taken: string[] = []
  const container = defineContainer({
    name: 'test-box',
    pattern: 'sidecar',
    summary: 'Follows a file.',
    contract: [],
    admin: 9999,
    params: { rules: pathKind('The rules.', { example: '/rules', reloads: true }) },
    metrics: {},
    async start({ params, follow, log }) {
      const first = await follow('rules', ['rules'], (contents) => {
        const rule = requireFile(contents, params.rules).toString()
        if (rule.startsWith('bad')) throw new Error(`${rule} is no rule`)
        taken.push(rule)
        return { rule }
      })
      log.info('first', first)
      return { async [Symbol.asyncDispose]() {} }
    },
  })
  return { taken, start: () => startContainer(container, { TEST_BOX_RULES: rules }) }
}

const lines = async (started: StartedContainer): Promise<string[]> => {
  const text = await (await started.ask('/metrics')).text()
  const prefix = 'outrider_test_box_config_'
  return text.split('\n').flatMap((line) => (line.startsWith(prefix) ? [line.slice(prefix.length)] : []))
}

const readyz = async (started: StartedContainer) => {
  const response = await started.ask('/readyz')
  return { status: response.status, ...((await response.json()) as { notices: Record<string, string> }) }
}

const logged = ({ events }: StartedContainer, msg: string) => events.filter((event) => event['msg'] === msg)

async function change(started: StartedContainer, content: string): Promise<void> {
  writeFileSync(rules, content)
  await started.checkFiles()
}

describe('the first load', () => {
  it('gives what the container made of the files', async () => {
    writeFileSync(rules, 'one')
    await using started = await box().start()
    expect(logged(started, 'first')).toMatchObject([{ rule: 'one' }])
  })

  it('counts as taken', async () => {
    writeFileSync(rules, 'one')
    await using started = await box().start()
    expect(await lines(started)).toEqual(
      expect.arrayContaining([
        'last_reload_successful{file="rules"} 1',
        'reloads_total{file="rules",result="taken"} 1',
      ]),
    )
  })

  it('says when it was, in Unix time', async () => {
    writeFileSync(rules, 'one')
    const before = Date.now() / 1000
    await using started = await box().start()
    const line = (await lines(started)).find((each) => each.startsWith('last_reload_timestamp_seconds'))
    const at = Number(line?.split(' ')[1])
    expect(at).toBeGreaterThanOrEqual(before)
    expect(at).toBeLessThanOrEqual(Date.now() / 1000)
  })

  it('that fails ends the start with the reason', async () => {
    writeFileSync(rules, 'bad')
    await expect(box().start()).rejects.toThrow('bad is no rule')
  })

  it('that fails leaves no watcher', async () => {
    writeFileSync(rules, 'bad')
    const { start, taken } = box()
    await expect(start()).rejects.toThrow()
    // When another watcher has seen two changes, one that had been left would have seen the first.
    const seen: string[] = []
    await using _ = await watchFiles([rules], {
      onChange: (contents) => void seen.push(String(contents.get(rules))),
    })
    for (const content of ['two', 'three']) {
      writeFileSync(rules, content)
      await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(content)
    }
    expect(taken).toEqual([])
  })

  it('of a file that is missing ends the start with the remedy', async () => {
    await expect(box().start()).rejects.toThrow(`${rules} does not exist: mount or create it`)
  })
})

describe('a change', () => {
  it('is taken without being asked for', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = box()
    await using _ = await start()
    writeFileSync(rules, 'two')
    await expect.poll(() => taken, { timeout: 10_000 }).toEqual(['one', 'two'])
  })

  it('is taken when the file is renamed over', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = box()
    await using started = await start()
    writeFileSync(`${rules}.new`, 'two')
    renameSync(`${rules}.new`, rules)
    await started.checkFiles()
    expect(taken).toEqual(['one', 'two'])
  })

  it('is taken when Kubernetes swaps the directory', async () => {
    for (const version of ['one', 'two']) {
      mkdirSync(join(directory, version))
      writeFileSync(join(directory, version, 'rules'), version)
    }
    symlinkSync('one', join(directory, '..data'))
    symlinkSync('..data/rules', rules)
    const { start, taken } = box()
    await using started = await start()
    symlinkSync('two', join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
    await started.checkFiles()
    expect(taken).toEqual(['one', 'two'])
  })

  it('is logged and counted', async () => {
    writeFileSync(rules, 'one')
    await using started = await box().start()
    await change(started, 'two')
    expect(logged(started, 'rules reloaded')).toMatchObject([{ level: 'info', files: [rules] }])
    expect(await lines(started)).toContain('reloads_total{file="rules",result="taken"} 2')
  })

  it('back to the same bytes is none', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = box()
    await using started = await start()
    await change(started, 'one')
    expect(taken).toEqual(['one'])
  })

  it('is not looked for after the end', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = box()
    const started = await start()
    await started[Symbol.asyncDispose]()
    await change(started, 'two')
    expect(taken).toEqual(['one'])
  })
})

describe('a change that is refused', () => {
  const refused = async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = box()
    const started = await start()
    await change(started, 'bad')
    return { started, taken }
  }

  it('leaves the last good one in use', async () => {
    const { started, taken } = await refused()
    await using _ = started
    expect(taken).toEqual(['one'])
  })

  it('is in the log as an error with the reason', async () => {
    const { started } = await refused()
    await using _ = started
    expect(logged(started, 'rules not reloaded, the last good one stays')).toMatchObject([
      { level: 'error', files: [rules], error: 'bad is no rule' },
    ])
  })

  it('is in the metrics', async () => {
    const { started } = await refused()
    await using _ = started
    expect(await lines(started)).toEqual(
      expect.arrayContaining([
        'last_reload_successful{file="rules"} 0',
        'reloads_total{file="rules",result="refused"} 1',
        'reloads_total{file="rules",result="taken"} 1',
      ]),
    )
  })

  it('does not move the time of the last good one', async () => {
    writeFileSync(rules, 'one')
    await using started = await box().start()
    const timestamp = async () =>
      (await lines(started)).find((line) => line.startsWith('last_reload_timestamp_seconds{'))
    const before = await timestamp()
    await change(started, 'bad')
    expect(await timestamp()).toBe(before)
  })

  it('is a notice on /readyz, which stays ready', async () => {
    const { started } = await refused()
    await using _ = started
    expect(await readyz(started)).toMatchObject({
      status: 200,
      notices: {
        'rules files': 'the changed files were refused and the last good ones are in use: bad is no rule',
      },
    })
  })

  it('is forgotten when the files are good again', async () => {
    const { started, taken } = await refused()
    await using _ = started
    await change(started, 'two')
    expect(taken).toEqual(['one', 'two'])
    expect((await readyz(started)).notices).toEqual({})
    expect(await lines(started)).toContain('last_reload_successful{file="rules"} 1')
  })

  it('is forgotten when the last good content comes back', async () => {
    const { started } = await refused()
    await using _ = started
    await change(started, 'one')
    expect((await readyz(started)).notices).toEqual({})
  })

  it('may be that the file is gone', async () => {
    writeFileSync(rules, 'one')
    await using started = await box().start()
    rmSync(rules)
    await started.checkFiles()
    expect((await readyz(started)).notices['rules files']).toContain(`${rules} does not exist`)
  })
})

describe('requireFile', () => {
  it('gives the bytes', () => {
    expect(requireFile(new Map([['/a', Buffer.from('x')]]), '/a').toString()).toBe('x')
  })

  it('takes an empty file for a file', () => {
    expect(requireFile(new Map([['/a', Buffer.alloc(0)]]), '/a')).toHaveLength(0)
  })

  it('says that there is none', () => {
    expect(() => requireFile(new Map([[rules, undefined]]), rules)).toThrow(
      `${rules} does not exist: mount or create it`,
    )
  })

  it('says that it may not be read', () => {
    writeFileSync(rules, 'x')
    chmodSync(rules, 0)
    // Root may read everything.
    const user = process.geteuid?.() ?? 0
    if (user === 0) process.seteuid?.(65532)
    try {
      expect(() => requireFile(new Map([[rules, undefined]]), rules)).toThrow(
        `${rules} may not be read by user 65532: change its owner or mode`,
      )
    } finally {
      if (user === 0) process.seteuid?.(0)
    }
  })

  it('says that it is something else than a file', () => {
    expect(() => requireFile(new Map([[directory, undefined]]), directory)).toThrow(
      `${directory} cannot be read: it must be a regular file`,
    )
  })
})

describe('followDirectory', () => {
  /** Takes rules unless one begins with "bad". */
  function rulesBox(path = directory) {
    const taken: Record<string, string>[] = []
    const container = defineContainer({
      name: 'test-box',
      pattern: 'sidecar',
      summary: 'Follows a directory.',
      contract: [],
      admin: 9999,
      params: { rules: pathKind('The rules.', { example: '/rules', reloads: true }) },
      metrics: {},
      async start({ followDirectory }) {
        await followDirectory('rules', 'rules', (files) => {
          for (const [name, rule] of files)
            if (rule.toString().startsWith('bad')) throw new Error(`${name} is no rule`)
          taken.push(Object.fromEntries([...files].map(([name, rule]) => [name, rule.toString()])))
        })
        return { async [Symbol.asyncDispose]() {} }
      },
    })
    return { taken, start: () => startContainer(container, { TEST_BOX_RULES: path }) }
  }

  it('gives the files at the start and at each change', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = rulesBox()
    await using started = await start()
    writeFileSync(join(directory, 'more'), 'two')
    await started.checkFiles()
    rmSync(rules)
    await started.checkFiles()
    expect(taken).toEqual([{ rules: 'one' }, { more: 'two', rules: 'one' }, { more: 'two' }])
  })

  it('takes an empty directory for no files', async () => {
    const { start, taken } = rulesBox()
    await using _ = await start()
    expect(taken).toEqual([{}])
  })

  it('ends the start with the remedy when there is no directory', async () => {
    const path = join(directory, 'missing')
    await expect(rulesBox(path).start()).rejects.toThrow(`${path} does not exist: mount or create it`)
  })

  it('names the parameter when it ends the start', async () => {
    writeFileSync(rules, 'bad')
    await expect(rulesBox().start()).rejects.toThrow('TEST_BOX_RULES (--rules): rules is no rule')
  })

  it('keeps the last good files, and says so like follow, while one is bad', async () => {
    writeFileSync(rules, 'one')
    const { start, taken } = rulesBox()
    await using started = await start()
    await change(started, 'bad')
    expect(taken).toEqual([{ rules: 'one' }])
    expect(logged(started, 'rules not reloaded, the last good one stays')).toMatchObject([
      { level: 'error', files: [directory], error: 'rules is no rule' },
    ])
    expect(await lines(started)).toEqual(
      expect.arrayContaining([
        'last_reload_successful{file="rules"} 0',
        'reloads_total{file="rules",result="refused"} 1',
        'reloads_total{file="rules",result="taken"} 1',
      ]),
    )
    expect((await readyz(started)).notices['rules files']).toContain('rules is no rule')
  })

  it('keeps the last good files while the directory is gone, and takes the next ones', async () => {
    const path = join(directory, 'sub')
    mkdirSync(path)
    writeFileSync(join(path, 'a'), 'one')
    const { start, taken } = rulesBox(path)
    await using started = await start()
    rmSync(path, { recursive: true })
    await started.checkFiles()
    expect((await readyz(started)).notices['rules files']).toContain(`${path} does not exist`)
    expect(taken).toEqual([{ a: 'one' }])
    mkdirSync(path)
    writeFileSync(join(path, 'a'), 'two')
    await started.checkFiles()
    expect((await readyz(started)).notices).toEqual({})
    expect(taken).toEqual([{ a: 'one' }, { a: 'two' }])
  })

  it('refuses all while one file may not be read', async () => {
    writeFileSync(rules, 'one')
    chmodSync(directory, 0o755)
    // Root may read everything.
    const user = process.geteuid?.() ?? 0
    if (user === 0) process.seteuid?.(65532)
    try {
      const { start, taken } = rulesBox()
      await using started = await start()
      if (user === 0) process.seteuid?.(0)
      writeFileSync(join(directory, 'closed'), 'two', { mode: 0 })
      if (user === 0) process.seteuid?.(65532)
      await started.checkFiles()
      expect((await readyz(started)).notices['rules files']).toContain('closed cannot be read: EACCES')
      expect(taken).toEqual([{ rules: 'one' }])
    } finally {
      if (user === 0) process.seteuid?.(0)
    }
  })
})
