import { lstat, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { errnoOf, FileError, fileError, printable } from './file-error.ts'
import { Claim } from './lock-claim.ts'
import { type Occupant, occupantOf, staleMs } from './lock-occupant.ts'
import type { LockHolder } from './lock-record.ts'

export type { LockHolder } from './lock-record.ts'

/** Disposing of it gives the directory free and leaves nothing. */
export interface DirectoryLock extends AsyncDisposable {
  /** Aborts when the directory is no longer ours: nothing may be written in it any more. */
  readonly lost: AbortSignal
  /** Looks whether the directory is still ours, and aborts `lost` if not: after a pause its own look may come too late. */
  confirm(): Promise<void>
}

export interface LockOptions {
  readonly onLost?: (error: Error) => void
}

/** Somebody else owns the directory. */
export class DirectoryLockedError extends Error {
  override readonly name = 'DirectoryLockedError'
  /** Undefined where it does not say. */
  readonly holder: LockHolder | undefined

  constructor(directory: string, { holder, answers }: Occupant) {
    const who =
      holder === undefined
        ? 'another process, which does not say who it is'
        : `process ${holder.pid} on ${holder.host} since ${holder.since.toISOString()}`
    const until = answers
      ? ''
      : `; it cannot be reached from here: if it is dead, the directory is free ${staleMs / 1000} s after its last sign of life`
    super(`${printable(directory)} is in use by ${who}; end it, or use a directory for each${until}`)
    this.holder = holder
  }
}

const lockName = '.outrider.lock'
/** Each of them failing means that another has got further. */
const attempts = 100
const beatMs = 5_000
/** Without a sign of life for longer, others may take the directory at any moment. */
const heldMs = staleMs - beatMs

/**
 * Makes this process the only owner of a directory, among all processes and containers that see it, until it is
 * disposed of or the process ends, however that ends. Processes of one machine know at once whether an owner lives; of
 * one on another machine, or where the volume has no sockets, they know after 30 s without a sign of life.
 * @throws DirectoryLockedError, FileError
 */
export async function lockDirectory(directory: string, { onLost }: LockOptions = {}): Promise<DirectoryLock> {
  const root = resolve(directory)
  try {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const claim = await attemptToOwn(root)
      if (claim !== undefined) return new HeldLock(root, claim, onLost)
    }
  } catch (error) {
    throw fileError('lock', root, error)
  }
  throw new FileError(
    `cannot lock ${printable(root)}: ${lockName} in it is neither free nor anybody's; remove it by hand`,
    'EBUSY',
  )
}

/** @returns undefined where another was in the way who may be gone by now */
async function attemptToOwn(root: string): Promise<Claim | undefined> {
  const path = join(root, lockName)
  await lstat(root)
  const claim = await ifThere(Claim.make(root, path))
  if (claim === undefined) return undefined
  let isOurs = false
  try {
    if (await ifThere(claim.moveTo(path))) {
      if (!(await claim.isIntact())) return undefined
      await removeAbandoned(root, claim)
      isOurs = true
      return claim
    }
    const now = await ifThere(claim.beat())
    if (now === undefined) return undefined
    const occupant = await occupantOf(path, { place: claim.place, now })
    if (occupant !== undefined) throw new DirectoryLockedError(root, occupant)
    return undefined
  } finally {
    if (!isOurs) await claim.release()
  }
}

/** An owner clears abandoned claims, and may take one for that which is only being made. */
async function ifThere<T>(step: Promise<T>): Promise<T | undefined> {
  try {
    return await step
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  }
}

/** Clears the claims that killed processes have left. */
async function removeAbandoned(root: string, claim: Claim): Promise<void> {
  const asker = { place: claim.place, now: await claim.beat() }
  for (const name of await readdir(root)) {
    // What cannot be removed hinders nobody.
    if (name.startsWith(`${lockName}.`)) await occupantOf(join(root, name), asker).catch(() => undefined)
  }
}

class HeldLock implements DirectoryLock {
  readonly #root: string
  readonly #claim: Claim
  readonly #onLost: ((error: Error) => void) | undefined
  readonly #lost = new AbortController()
  #isOver = false
  #timer: NodeJS.Timeout
  #renewing: Promise<void> | undefined
  #renewed = performance.now()

  constructor(root: string, claim: Claim, onLost: ((error: Error) => void) | undefined) {
    this.#root = root
    this.#claim = claim
    this.#onLost = onLost
    this.#timer = this.#schedule()
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async confirm(): Promise<void> {
    await this.#renewing
    clearTimeout(this.#timer)
    if (this.#isOver) return
    this.#renewing = this.#renew()
    await this.#renewing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    const wasOver = this.#isOver
    this.#isOver = true
    await this.#renewing
    if (!wasOver) await this.#claim.release()
  }

  /** One sign of life after another, however slow the volume is. */
  #schedule(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#renewing = this.#renew()
    }, beatMs).unref()
  }

  async #renew(): Promise<void> {
    try {
      await this.#claim.beat()
      this.#renewed = performance.now()
    } catch (error) {
      const isGone = ['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')
      if (isGone || performance.now() - this.#renewed > heldMs) return await this.#lose(error, isGone)
    }
    if (!this.#isOver) this.#timer = this.#schedule()
  }

  async #lose(cause: unknown, isGone: boolean): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    const why = isGone
      ? 'another process has taken it, as after a pause of more than 30 s, or its lock was removed'
      : 'no sign of life could be given for too long'
    const error = new Error(`${printable(this.#root)} is no longer ours: ${why}`, { cause })
    this.#lost.abort(error)
    this.#onLost?.(error)
    await this.#claim.release()
  }
}
