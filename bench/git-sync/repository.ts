import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runGit } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import { Program } from '../support/processes.ts'

/** What a generated repository has on `main`. */
export interface Contents {
  /** Of 1 to 6 KiB, which compress and become deltas. */
  readonly texts: number
  /** Of random bytes. */
  readonly blobs: number
  readonly blobBytes: number
  /** After the first one each changes a few texts. */
  readonly commits: number
  /** Commits that are not pushed yet; each changes one text. */
  readonly later: number
}

export const branch = 'main'

/** A bare repository whose branch can be moved on, one commit at a time, without a process. */
export class Repository {
  readonly directory: string
  /** Of `main`, and of what is not pushed yet. */
  readonly #waiting: string[]

  private constructor(directory: string, hashes: string[]) {
    this.directory = directory
    this.#waiting = hashes
  }

  static async generate(directory: string, contents: Contents): Promise<Repository> {
    await runGit(['init', '--quiet', '--bare', `--initial-branch=${branch}`, directory])
    const args = ['-c', 'pack.compression=1', 'fast-import', '--quiet']
    const child = spawn('git', args, { cwd: directory, stdio: ['pipe', 'inherit', 'inherit'] })
    const ended = once(child, 'close')
    for (const part of streamOf(contents)) if (!child.stdin.write(part)) await once(child.stdin, 'drain')
    child.stdin.end()
    const [code] = (await ended) as [number | null]
    if (code !== 0) throw new Error(`git fast-import ended with ${code}`)
    // As a server has it: deltas among the texts, none among what does not compress.
    const repack = ['-c', 'core.bigFileThreshold=256k', '-c', 'gc.auto=0', 'repack', '-a', '-d', '-q']
    await new Program({ program: 'git', args: ['-C', directory, ...repack] }, 'load').result(300)
    const later = await runGit(['rev-list', '--reverse', '--all', '--not', branch], { cwd: directory })
    return new Repository(directory, later.split('\n').filter(Boolean))
  }

  /** The moment of a push, as clients see it: the branch moves. @returns the hash */
  push(): string {
    const hash = this.#waiting.shift()
    if (hash === undefined) throw new Error('every commit is pushed')
    const ref = join(this.directory, 'refs/heads', branch)
    writeFileSync(`${ref}.next`, `${hash}\n`)
    renameSync(`${ref}.next`, ref)
    return hash
  }
}

function* streamOf({ texts, blobs, blobBytes, commits, later }: Contents): Generator<string | Buffer> {
  const random = sequence(42)
  yield commit(branch, 0)
  for (let index = 0; index < texts; index++) yield text(index, 0, random)
  for (let index = 0; index < blobs; index++) {
    yield `M 100644 inline blobs/${index % 10}/${index}.bin\ndata ${blobBytes}\n`
    yield randomBytes(blobBytes)
    yield '\n'
  }
  for (let number = 1; number < commits + later; number++) {
    yield commit(number < commits ? branch : 'next', number, number === commits ? branch : undefined)
    const changes = number < commits ? 5 : 1
    for (let change = 0; change < changes; change++) yield text(Math.floor(random() * texts), number, random)
  }
}

function commit(to: string, number: number, from?: string): string {
  const author = `committer Bench <bench@example.com> ${1_700_000_000 + number} +0000`
  const message = `change ${number}`
  const parent = from === undefined ? '' : `from refs/heads/${from}\n`
  return `commit refs/heads/${to}\n${author}\ndata ${message.length}\n${message}\n${parent}`
}

function text(index: number, version: number, random: () => number): string {
  const lines = Array.from(
    { length: 20 + (index % 100) },
    (_, line) => `setting.${index}.${line} = "value ${(index * 31 + line * 17) % 9973} of this one"\n`,
  )
  lines[Math.floor(random() * lines.length)] = `changed in ${version}, ${random()}\n`
  const body = lines.join('')
  return `M 100644 inline texts/${index % 100}/${index}.conf\ndata ${body.length}\n${body}\n`
}

/** Numbers from 0 to 1 that are the same in each run. */
function sequence(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
