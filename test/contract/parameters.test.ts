import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NamedParam } from '@outrider/core'
import { type FileSet, onFreePorts, type WatchedFiles } from '@outrider/core/testing'
import { expect } from 'vitest'
import { forEveryContainer, line, type Subject } from '../support/contract.ts'
import { type Program, until } from '../support/program.ts'

type Place = (files: FileSet) => void

/** The ways in which mounted files change; each gets a directory and places files below its `live`. */
const replacements: Readonly<Record<string, (directory: string) => Place>> = {
  'written in place': (directory) => {
    mkdirSync(join(directory, 'live'))
    return (files) => writeAll(join(directory, 'live'), files)
  },
  'renamed over': (directory) => {
    mkdirSync(join(directory, 'live'))
    return (files) => {
      for (const [name, content] of Object.entries(files)) {
        writeFileSync(join(directory, `${name}.new`), content)
        renameSync(join(directory, `${name}.new`), join(directory, 'live', name))
      }
    }
  },
  'Kubernetes ..data swap': kubernetesSwap,
  'git-sync link flip': (directory) =>
    versioned(
      directory,
      (version) => `worktree-${version}`,
      (version) => {
        symlinkSync(version, join(directory, 'live.tmp'))
        renameSync(join(directory, 'live.tmp'), join(directory, 'live'))
      },
    ),
}

function kubernetesSwap(directory: string): Place {
  const live = join(directory, 'live')
  mkdirSync(live)
  return versioned(
    live,
    (version) => `..${version}`,
    (version, files) => {
      symlinkSync(version, join(live, '..data_tmp'))
      renameSync(join(live, '..data_tmp'), join(live, '..data'))
      for (const name of Object.keys(files)) {
        rmSync(join(live, name), { force: true })
        symlinkSync(join('..data', name), join(live, name))
      }
    },
  )
}

/** Writes each version to a directory of its own, publishes it, then removes the one before. */
function versioned(
  parent: string,
  nameOf: (version: number) => string,
  publish: (version: string, files: FileSet) => void,
): Place {
  let version = 0
  return (files) => {
    const [name, old] = [nameOf(++version), nameOf(version - 1)]
    mkdirSync(join(parent, name))
    writeAll(join(parent, name), files)
    publish(name, files)
    rmSync(join(parent, old), { recursive: true, force: true })
  }
}

function writeAll(directory: string, files: FileSet): void {
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
}

forEveryContainer((subject) => {
  line(1, 'it starts with its required parameters alone', async () => {
    const { env, places = [] } = subject.fixture
    // Its defaults are taken or missing on this machine.
    const moved = { ...onFreePorts(subject.container), ...pick(env, places) }
    const textOf = ({ variable, facts }: NamedParam) => {
      if (facts.optional) return ''
      if (facts.default !== undefined) return moved[variable] ?? ''
      return env[variable] ?? facts.example ?? 'a-secret'
    }
    const { params } = subject.container
    const program = subject.program(
      Object.fromEntries(params.map((param) => [param.variable, textOf(param)])),
    )
    await until('ready', async () => (await program.ask('/readyz')).status === 200)
  })

  line(2, 'it refuses wrong, unknown and misspelt parameters, all at once, with exit code 2', async () => {
    const { prefix } = subject.container
    const program = subject.program(
      {
        ...subject.fixture.env,
        [`${prefix}ADMIN`]: 'nowhere',
        [`${prefix}DRAIN`]: '10',
        [`${prefix}DRIAN`]: '10s',
        [`${prefix}NO_SUCH_THING_AT_ALL`]: 'x',
      },
      ['--log-levle', 'debug', '--log-format', 'loud'],
    )
    expect(await program.ended()).toBe(2)
    const problems = program.stderr.trimEnd().split('\n')
    expect(problems).toHaveLength(6)
    expect(program.stderr).toContain(`${prefix}ADMIN (--admin) is "nowhere" but must be`)
    expect(program.stderr).toContain(`${prefix}DRAIN (--drain) is "10" but must be a time with its unit`)
    expect(program.stderr).toContain(`did you mean ${prefix}DRAIN?`)
    expect(program.stderr).toContain('did you mean --log-level?')
    expect(program.stdout).toBe('')
  })

  line(2, 'it refuses parameters that contradict each other, with exit code 2', async () => {
    const { contradiction } = subject.fixture
    const { prefix } = subject.container
    const both = { [`${prefix}DRAIN`]: '1s', [`${prefix}DRAIN_FILE`]: '/drain' }
    for (const { env, says } of [
      { env: both, says: /both set/ },
      ...(contradiction ? [contradiction] : []),
    ]) {
      const program = subject.program({ ...subject.fixture.env, ...env })
      expect(await program.ended()).toBe(2)
      expect(program.stderr).toMatch(says)
    }
  })

  line(3, 'every parameter that is no secret is taken from the environment, a flag and a file', async () => {
    const given = await givenTexts(subject)
    const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
    const files = given.map(({ variable, text, fileParam }) => {
      // The file is another parameter.
      if (fileParam !== undefined) return [variable, text]
      const file = join(directory, variable)
      writeFileSync(file, `${text}\n`)
      return [`${variable}_FILE`, file]
    })
    const byEnvironment = subject.program(
      Object.fromEntries(given.map(({ variable, text }) => [variable, text])),
    )
    const byFlag = subject.program(
      Object.fromEntries(given.filter(({ secret }) => secret).map(({ variable, text }) => [variable, text])),
      given.filter(({ secret }) => !secret).map(({ flag, text }) => `${flag}=${text}`),
    )
    const byFile = subject.program(Object.fromEntries(files))
    for (const [program, source] of [
      [byEnvironment, 'environment'],
      [byFlag, 'flag'],
      [byFile, 'file'],
    ] as const) {
      const params = (await (await program.ask('/params')).json()) as Record<
        string,
        { value: string; source: string }
      >
      for (const { name, text, secret, fileParam } of given) {
        if (secret || (source === 'file' && fileParam !== undefined)) continue
        expect({ name, ...params[name] }).toEqual({ name, value: text, source })
      }
    }
    rmSync(directory, { recursive: true })
  })

  line(3, 'no secret has a flag, unless it had one before, or is shown anywhere', async () => {
    const secret = 's3cret-nobody-may-see'
    for (const { name, variable, flag, facts } of subject.container.params) {
      if (!facts.secret) continue
      const beside = subject.fixture.besideSecrets?.[name] ?? {}
      const program = await subject.start({ ...beside, [variable]: secret })
      const pages = ['/', '/params', '/metrics', '/readyz', ...Object.keys(subject.container.pages)]
      const shown = await Promise.all(pages.map(async (path) => (await program.ask(path)).text()))
      const isOlder = facts.formerly?.some((former) => former.flag === flag) === true
      const byFlag = subject.program({ ...subject.fixture.env, ...beside }, [
        `${flag}=${secret}`,
        ...(isOlder ? ['--print=env'] : []),
      ])
      expect(await byFlag.ended()).toBe(isOlder ? 0 : 2)
      program.signal('SIGTERM')
      await program.ended()
      for (const { stdout, stderr } of [program, byFlag])
        expect(shown.join() + stdout + stderr).not.toContain(secret)
    }
  })

  line(4, 'its fixture has files exactly where its parameters name watched ones', () => {
    const watched = subject.container.params.filter(({ facts }) => facts.reloads).map(({ name }) => name)
    const named = subject.fixture.files?.flatMap(({ params }) => params) ?? []
    expect(named.toSorted()).toEqual(watched.toSorted())
  })

  for (const [way, replace] of Object.entries(replacements)) {
    line(4, `changed files are seen: ${way}; a bad one keeps the last good one and says so`, async () => {
      const [files] = subject.fixture.files ?? []
      if (files !== undefined) await expectReloads(subject, files, replace)
    })
  }

  line(
    4,
    'each further set of watched files is seen in a Kubernetes ..data swap, and refused when bad',
    async () => {
      const further = subject.fixture.files?.slice(1) ?? []
      await Promise.all(further.map((files) => expectReloads(subject, files, kubernetesSwap)))
    },
  )
})

async function expectReloads(
  subject: Subject,
  files: WatchedFiles,
  replace: (directory: string) => Place,
): Promise<void> {
  const { good, bad, observe } = files
  const what = files.params.join(', ')
  const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
  const place = replace(directory)
  place(good[0])
  const program = await subject.start(subject.filesEnv(files, join(directory, 'live')))
  const at = await program.addresses()
  const first = await observe(at)
  place(good[1])
  await until(`the second files of ${what} in use`, async () => (await observe(at)) !== first)
  const second = await observe(at)
  expect(await reloaded(program)).toBe(1)
  place(bad)
  await until(`the refusal of ${what}`, async () => (await reloaded(program)) === 0)
  expect(await observe(at)).toBe(second)
  expect(await (await program.ask('/readyz')).text()).toContain('refused')
  expect(
    program.events().some(({ level, msg }) => level === 'error' && String(msg).includes('not reloaded')),
  ).toBe(true)
  place(good[0])
  await until(
    `the recovery of ${what}`,
    async () => (await reloaded(program)) === 1 && (await observe(at)) === first,
  )
  rmSync(directory, { recursive: true })
}

const pick = (env: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => names.includes(name)))

/** A text for every parameter: what the fixture needs, otherwise its default or example. */
async function givenTexts(subject: Subject) {
  const free: Record<string, string> = { ...onFreePorts(subject.container), ...subject.fixture.env }
  return subject.container.params.flatMap(({ name, variable, flag, facts }) => {
    const text = free[variable] ?? facts.default ?? facts.example
    // A followed file that is named must be there.
    if (text === undefined || (facts.reloads && free[variable] === undefined)) return []
    return [{ name, variable, flag, text, secret: facts.secret === true, fileParam: facts.fileParam }]
  })
}

/** 1 when the last load of all files was taken, 0 when one was refused. */
async function reloaded(program: Program): Promise<number> {
  const text = await (await program.ask('/metrics')).text()
  expect(text).toContain('_config_last_reload_timestamp_seconds')
  const results = [...text.matchAll(/_config_last_reload_successful\{[^}]*\} (\d)/g)]
  return Math.min(...results.map(([, result]) => Number(result)))
}
