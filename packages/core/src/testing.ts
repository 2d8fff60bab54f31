import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Container } from './container.ts'
import { type Address, formatAddress } from './kinds.ts'
import { type Launched, launch } from './launch.ts'
import { resolve } from './resolve.ts'
import type { AskableSignal } from './signals.ts'

export type { Address } from './kinds.ts'
export type { Launched } from './launch.ts'

export interface StartedContainer extends Launched {
  /** Log events so far. */
  readonly events: readonly Readonly<Record<string, unknown>>[]
  /** Asks the admin API; `path` begins with a slash. */
  ask(path: string, init?: RequestInit): Promise<Response>
  /** What the process would do at this signal, for a container that asked for it. */
  signal(name: AskableSignal): void
}

/** Starts a container in this process, on free ports of loopback unless `env` says otherwise. Dispose of it after. */
export async function startContainer(
  container: Container,
  env: Readonly<Record<string, string>> = {},
): Promise<StartedContainer> {
  const readFile = (path: string) => readFileSync(path, 'utf8')
  const resolution = resolve(container, { argv: [], env: { ...onFreePorts(container), ...env }, readFile })
  if (!resolution.ok) throw new Error(resolution.problems.join('\n'))
  const events: Record<string, unknown>[] = []
  const write = (line: string) => void events.push(JSON.parse(line) as Record<string, unknown>)
  const signals = new EventEmitter()
  const onSignal = (name: AskableSignal, handler: () => void) => void signals.on(name, handler)
  const environment = { ...process.env, ...env }
  const launched = await launch(container, resolution.resolved, { write, onSignal, environment })
  const base = `http://${formatAddress(launched.admin)}`
  return Object.assign(launched, {
    events,
    ask: (path: string, init?: RequestInit) => fetch(base + path, init),
    signal: (name: AskableSignal) => void signals.emit(name),
  })
}

/** Loopback addresses with port 0 for the admin API and every port of a container. */
export function onFreePorts(container: Container): Record<string, string> {
  const listeners = ['admin', ...Object.values(container.ports)]
  return Object.fromEntries(
    container.params
      .filter(({ name }) => listeners.includes(name))
      .map(({ variable }) => [variable, '127.0.0.1:0']),
  )
}

/** Where a container under the contract tests listens, by port name. */
export type Addresses = Readonly<Record<string, Address>>

/**
 * What the contract tests need to know of one container: `src/fixture.ts` of its package exports `fixture`. Each part
 * proves the lines of docs/container-contract.md that are named beside it.
 */
export interface Fixture extends AsyncDisposable {
  /** Its environment in the tests, without addresses to listen on. It may be ready only a while after its start. */
  readonly env: Readonly<Record<string, string>>
  /** Those of its variables that name places which its image has by itself, and this machine has not (lines 1, 16). */
  readonly places?: readonly string[]
  /** What each secret cannot do without, beside its environment, by the parameter (line 3). */
  readonly besideSecrets?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Does one unit of work as a client; rejects when it is not done or done wrongly (lines 1, 12, 17). */
  work(at: Addresses): Promise<void>
  /** Begins work that lasts until `finish`; `finish` rejects when it was not finished whole (line 12). */
  beginWork(at: Addresses): Promise<{ finish(): Promise<void> }>
  /** Values that contradict each other, and the text that says so (line 2). */
  readonly contradiction?: { readonly env: Readonly<Record<string, string>>; readonly says: RegExp }
  /** Sets of files that are watched; each watched parameter belongs to one of them (line 4). */
  readonly files?: readonly WatchedFiles[]
  /** What can be wrong outside, each with a check that the client is answered (line 13). */
  readonly outages: readonly Outage[]
  /** Lets a peer send without limit to one that does not read; resolves with the bytes that were taken (line 14). */
  flood?(at: Addresses): Promise<number>
  /** Malformed bytes for each port, beside the generic ones (line 17). */
  readonly hostile: readonly (string | Uint8Array)[]
}

export interface WatchedFiles {
  /** The watched parameters that name them, each the file that is called like it, unless there is `directory`. */
  readonly params: readonly string[]
  /** Of these the one that names the directory in which the files lie, under any names. */
  readonly directory?: string
  /** Its environment beside the fixture's. */
  readonly env?: Readonly<Record<string, string>>
  /** Two different good sets and a bad one. */
  readonly good: readonly [FileSet, FileSet]
  readonly bad: FileSet
  /** What a client sees of the set in use: different for each. */
  observe(at: Addresses): Promise<string>
}

/** Contents by file name. */
export type FileSet = Readonly<Record<string, string | Uint8Array>>

export interface Outage {
  readonly name: string
  /** It starts, but is not ready until this is over. */
  readonly ready?: false
  readonly env?: Readonly<Record<string, string>>
  /** Rejects unless the client got a clear answer, or its connection was ended, before the test's deadline. */
  check(at: Addresses): Promise<void>
}

export type MakeFixture = () => Promise<Fixture>
