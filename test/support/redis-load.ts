import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { docker } from './docker.ts'
import { inRoot } from './workspace.ts'

/** Of one key, that one client alone writes, with ascending numbers: the first is 1. */
export interface Written {
  /** The last number that was acknowledged. */
  acknowledged: number
  /** Later ones whose writes failed: they may be there or not. */
  doubtful: number[]
}

/** What a client has seen so far. */
export interface Tally {
  readonly keys: Record<string, Written>
  /** Writes that were acknowledged, and values that were read. */
  writes: number
  reads: number
  /** By key: commands, or parts of them, that were answered by an error. */
  readonly failed: Record<string, number>
  /** By text. */
  readonly errors: Record<string, number>
  /** Answers that cannot be: values of another key, numbers that were never written. */
  readonly wrong: string[]
  /** Keys that were read with an earlier number than the last that was acknowledged, or with none, each with that number. */
  readonly older: [string, number][]
  /** Connections that ended, and commands without any answer. */
  readonly broken: string[]
  /** Milliseconds that the slowest answer took, a value or an error. */
  slowestAnswer: number
  slowestError: number
}

/** A client that writes and reads until it is stopped. */
export interface Load extends AsyncDisposable {
  tally(): Promise<Tally>
  /** Ends it behind what it has asked. */
  stop(): Promise<Tally>
}

export const valueAt = (key: string, number: number): string => `${key}=${number}`

/** The number that a value of a key has: 0 where there is no value, undefined where it is of something else. */
export function numberIn(key: string, value: string | null): number | undefined {
  if (value === null) return 0
  const number = Number(value.slice(key.length + 1))
  return value === valueAt(key, number) && number > 0 ? number : undefined
}

/** Longer than any answer may take: who waits so long hangs. */
const HANGS_MS = 10_000

/** Keys whose commands are under way at the same time. */
const AT_ONCE = 10

/** An ioredis client. The commands of one key follow each other: what each answers is known before the next. */
export class NodeLoad implements Load {
  readonly #client: Redis
  readonly #keys: readonly string[]
  readonly #tally: Tally
  readonly #running: Promise<void>
  #stopping = false

  constructor(at: { host: string; port: number } | { path: string }, keys: readonly string[]) {
    this.#keys = keys
    this.#tally = newTally(keys)
    this.#client = new Redis({
      ...at,
      commandTimeout: HANGS_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    })
    this.#client.on('error', (error) => this.#tally.broken.push(error.message))
    this.#client.on('close', () => {
      if (!this.#stopping) this.#tally.broken.push('the connection ended')
    })
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      for (let at = 0; at < this.#keys.length && !this.#stopping; at += AT_ONCE) {
        await Promise.all(
          this.#keys.slice(at, at + AT_ONCE).map(async (key) => {
            await this.#read([key], async () => [await this.#client.get(key)])
            await this.#write(key)
          }),
        )
        // Servers and clients share two processors.
        await delay(2)
      }
      await this.#read(
        this.#keys,
        () => this.#client.mget(...this.#keys) as Promise<(string | null | Error)[]>,
      )
    }
  }

  async #write(key: string): Promise<void> {
    const tally = this.#tally
    const written = writtenOf(tally, key)
    const number = Math.max(written.acknowledged, ...written.doubtful) + 1
    const since = performance.now()
    try {
      const answer = await this.#client.set(key, valueAt(key, number))
      if (answer !== 'OK') tally.wrong.push(`${answer} to SET ${key}`)
      tally.writes += 1
      written.acknowledged = number
      written.doubtful = []
      tally.slowestAnswer = Math.max(tally.slowestAnswer, performance.now() - since)
    } catch (error) {
      written.doubtful.push(number)
      this.#fail(key, error, performance.now() - since)
    }
  }

  async #read(keys: readonly string[], ask: () => Promise<(string | null | Error)[]>): Promise<void> {
    const tally = this.#tally
    const since = performance.now()
    const values = await ask().catch((error: unknown) =>
      keys.map(() => (error instanceof Error ? error : new Error(String(error)))),
    )
    const took = performance.now() - since
    if (values.length !== keys.length) tally.wrong.push(`${values.length} values of ${keys.length} keys`)
    for (const [at, key] of keys.entries()) {
      const value = values[at] ?? null
      if (value instanceof Error) this.#fail(key, value, took)
      else {
        tally.reads += 1
        tally.slowestAnswer = Math.max(tally.slowestAnswer, took)
        judge(tally, key, value)
      }
    }
  }

  #fail(key: string, error: unknown, took: number): void {
    const tally = this.#tally
    const text = error instanceof Error ? error.message : String(error)
    if (/timed out|Connection is closed|max retries/.test(text)) tally.broken.push(text)
    tally.failed[key] = (tally.failed[key] ?? 0) + 1
    tally.errors[text] = (tally.errors[text] ?? 0) + 1
    tally.slowestError = Math.max(tally.slowestError, took)
  }

  tally(): Promise<Tally> {
    return Promise.resolve(structuredClone(this.#tally))
  }

  async stop(): Promise<Tally> {
    this.#stopping = true
    await this.#running
    this.#client.disconnect()
    return this.#tally
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function newTally(keys: readonly string[]): Tally {
  return {
    keys: Object.fromEntries(keys.map((key) => [key, { acknowledged: 0, doubtful: [] }])),
    ...{ writes: 0, reads: 0, failed: {}, errors: {}, wrong: [], older: [], broken: [] },
    ...{ slowestAnswer: 0, slowestError: 0 },
  }
}

function writtenOf(tally: Tally, key: string): Written {
  const written = tally.keys[key]
  if (written === undefined) throw new Error(`nobody writes ${key}`)
  return written
}

function judge(tally: Tally, key: string, value: string | null): void {
  const { acknowledged, doubtful } = writtenOf(tally, key)
  const number = numberIn(key, value)
  if (number === undefined || (number > acknowledged && !doubtful.includes(number)))
    tally.wrong.push(`${value} for ${key}, of which ${acknowledged} was acknowledged`)
  else if (number < acknowledged) tally.older.push([key, number])
}

const PYTHON_IMAGE = 'outrider-test/redis-py'

/** The same by redis-py, in a container of the network of what it asks. */
export class PythonLoad implements Load {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface
  readonly #answers: AsyncIterator<string>

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })
    this.#answers = this.#lines[Symbol.asyncIterator]()
  }

  static async start(network: string, host: string, keys: readonly string[]): Promise<PythonLoad> {
    const file = inRoot('test/e2e/redis-py.Dockerfile')
    await docker('build', '--quiet', '--tag', PYTHON_IMAGE, '--file', file, inRoot('test/support'))
    const child = spawn(
      'docker',
      [
        ...['run', '--rm', '--interactive', '--label', 'org.testcontainers=true', '--network', network],
        ...[PYTHON_IMAGE, host, String(HANGS_MS / 1000), ...keys],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    return new PythonLoad(child)
  }

  async tally(): Promise<Tally> {
    this.#child.stdin.write('tally\n')
    return this.#next()
  }

  async stop(): Promise<Tally> {
    this.#child.stdin.end()
    const tally = await this.#next()
    await this[Symbol.asyncDispose]()
    return tally
  }

  async #next(): Promise<Tally> {
    const { value, done } = await this.#answers.next()
    if (done) throw new Error('the client in Python has ended')
    return JSON.parse(value) as Tally
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await once(this.#child, 'close')
  }
}

/** What several clients have seen. */
export function sumOf(tallies: readonly Tally[]): Tally {
  const sum = newTally([])
  for (const tally of tallies) {
    Object.assign(sum.keys, tally.keys)
    sum.writes += tally.writes
    sum.reads += tally.reads
    for (const [key, count] of Object.entries(tally.failed)) sum.failed[key] = (sum.failed[key] ?? 0) + count
    for (const [text, count] of Object.entries(tally.errors))
      sum.errors[text] = (sum.errors[text] ?? 0) + count
    sum.wrong.push(...tally.wrong)
    sum.older.push(...tally.older)
    sum.broken.push(...tally.broken)
    sum.slowestAnswer = Math.max(sum.slowestAnswer, tally.slowestAnswer)
    sum.slowestError = Math.max(sum.slowestError, tally.slowestError)
  }
  return sum
}

export const failures = ({ failed }: Tally): number =>
  Object.values(failed).reduce((sum, count) => sum + count, 0)
