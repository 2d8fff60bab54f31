import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Container } from '@outrider/core'
import { type FileSet, type Fixture, onFreePorts, type WatchedFiles } from '@outrider/core/testing'
import { afterEach, beforeEach, describe, it } from 'vitest'
import { Program } from './program.ts'
import { type ContainerPackage, containerPackages, inRoot } from './workspace.ts'

/** The lines of docs/container-contract.md by number. */
export const contractLines: ReadonlyMap<number, string> = new Map(
  [
    ...readFileSync(inRoot('docs/container-contract.md'), 'utf8').matchAll(/^(\d+)\. (.*(?:\n {3}.*)*)/gm),
  ].map(([, number, text = '']) => [Number(number), text.replaceAll(/\s+/g, ' ')]),
)

/** Titles a test with the line that it proves and what of it. */
export function line(
  number: number,
  what: string,
  test: () => Promise<void> | void,
  timeoutMs?: number,
): void {
  if (!contractLines.has(number)) throw new Error(`docs/container-contract.md has no line ${number}`)
  it(`line ${number}: ${what}`, test, timeoutMs)
}

/** One container under the contract, with a fresh fixture for each test. */
export class Subject {
  readonly container: Container
  readonly #pack: ContainerPackage
  #fixture: Fixture | undefined
  #programs: Program[] = []
  #directories: string[] = []

  constructor(pack: ContainerPackage) {
    this.#pack = pack
    this.container = pack.container
  }

  get fixture(): Fixture {
    if (this.#fixture === undefined) throw new Error('only inside a test')
    return this.#fixture
  }

  async open(): Promise<void> {
    this.#fixture = await this.#pack.makeFixture()
  }

  /** Ends what the test started. */
  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program[Symbol.asyncDispose]()))
    this.#programs = []
    for (const directory of this.#directories.splice(0)) rmSync(directory, { recursive: true })
    await this.#fixture?.[Symbol.asyncDispose]()
    this.#fixture = undefined
  }

  /** The variable of a parameter. */
  variable(name: string): string {
    const param = this.container.params.find((candidate) => candidate.name === name)
    if (param === undefined) throw new Error(`${this.container.name} has no parameter ${name}`)
    return param.variable
  }

  /** Runs its program with exactly this environment. */
  program(env: Readonly<Record<string, string>>, args: readonly string[] = []): Program {
    const program = new Program(this.#pack.main, env, args)
    this.#programs.push(program)
    return program
  }

  /** Runs its program on free ports with what its fixture needs, and waits until it has started. */
  async start(env: Readonly<Record<string, string>> = {}, args: readonly string[] = []): Promise<Program> {
    const program = this.program({ ...onFreePorts(this.container), ...this.fixture.env, ...env }, args)
    await program.logged('started')
    return program
  }

  /** Runs it on its watched files, the first good ones to begin with; `place` writes others over them. */
  async startOnFiles(files: WatchedFiles): Promise<{ program: Program; place: (set: FileSet) => void }> {
    const directory = mkdtempSync(join(tmpdir(), 'outrider-'))
    this.#directories.push(directory)
    const place = (set: FileSet) => {
      for (const [name, content] of Object.entries(set)) writeFileSync(join(directory, name), content)
    }
    place(files.good[0])
    return { program: await this.start(this.filesEnv(files, directory)), place }
  }

  /** The environment with which it runs on watched files in a directory. */
  filesEnv({ params, directory, env }: WatchedFiles, place: string): Record<string, string> {
    const paths = params.map((name) => (name === directory ? place : join(place, name)))
    const named = params.map((name, index) => [this.variable(name), paths[index]])
    return { ...env, ...Object.fromEntries(named) }
  }
}

const packs = await containerPackages()

/** Declares the same tests for every container of the workspace. */
export function forEveryContainer(declare: (subject: Subject) => void): void {
  for (const pack of packs) {
    describe(pack.container.name, () => {
      const subject = new Subject(pack)
      beforeEach(() => subject.open())
      afterEach(() => subject.close())
      declare(subject)
    })
  }
}
