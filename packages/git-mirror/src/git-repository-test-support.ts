import { appendFile, chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type RunOptions, runGit } from './run-git-test-support.ts'
import type { Signer } from './signers-test-support.ts'

/** Contents by path; null takes a file away. */
export type Files = Readonly<Record<string, string | Uint8Array | null>>

/** Does what it likes in the working tree that is to be committed. */
export type Change = (tree: string) => void | Promise<void>

export interface CommitOptions {
  /** `main` unless given; one that is not there yet begins at HEAD. */
  readonly branch?: string
  readonly message?: string
  readonly sign?: Signer
  /** Takes the place of the branch's last commit. */
  readonly amend?: boolean
}

export interface TagOptions {
  /** HEAD unless given. */
  readonly target?: string
  readonly annotated?: boolean
  /** Makes it an annotated one. */
  readonly sign?: Signer
}

/** What may happen to the file of an object; `as` puts another object's contents in its place. */
export type Damage = 'corrupt' | 'empty' | 'missing' | { readonly as: string }

export interface RepositoryOptions {
  readonly objectFormat?: 'sha1' | 'sha256'
}

/** Each commit and tag is a second later than the one before, so that no two have the same hash. */
const FIRST_SECOND = 1_700_000_000

const CONFIGURATION = `
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[gc]
	auto = 0
[maintenance]
	auto = false
[core]
	fsync = none
	logAllRefUpdates = false
`

/** Makes a bare repository at a path that is not there yet, with `main` for HEAD. */
export async function makeRepository(
  directory: string,
  options: RepositoryOptions = {},
): Promise<TestRepository> {
  const repository = new TestRepository(directory, options.objectFormat ?? 'sha1')
  await repository.recreate()
  return repository
}

/** A bare repository for servers to serve, changed by real git. Its calls are to follow one another. */
export class TestRepository {
  readonly directory: string
  readonly #objectFormat: string
  readonly #tree: string
  readonly #scratch: string
  #second = FIRST_SECOND
  /** What the working tree shows. */
  #shown = ''

  /** @param directory as in `makeRepository`, which makes what is to be there */
  constructor(directory: string, objectFormat: string) {
    this.directory = directory
    this.#objectFormat = objectFormat
    this.#tree = join(directory, 'scratch/tree')
    this.#scratch = join(directory, 'scratch/git')
  }

  /** Begins anew at the same path, without any commit. What is committed then has nothing in common with before. */
  async recreate(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
    const format = `--object-format=${this.#objectFormat}`
    await runGit(['init', '--quiet', '--bare', '--initial-branch=main', format, this.directory])
    await appendFile(join(this.directory, 'config'), CONFIGURATION)
    await Promise.all([this.#tree, this.#scratch].map((path) => mkdir(path, { recursive: true })))
    await writeFile(join(this.#scratch, 'commondir'), '../..\n')
    this.#shown = ''
  }

  /** Gives the commit's hash. */
  async commit(content: Files | Change, options: CommitOptions = {}): Promise<string> {
    const { branch = 'main', message = 'A change', sign, amend } = options
    await this.#show(branch)
    await (typeof content === 'function' ? content(this.#tree) : this.#write(content))
    await this.#inTree(['add', '--all'])
    const flags = ['--quiet', '--allow-empty', ...(amend ? ['--amend'] : []), ...(sign ? ['-S'] : [])]
    await this.#inTree(['commit', ...flags, '-m', message], sign)
    const hash = await this.#tip(`refs/heads/${branch}`)
    if (hash === undefined) throw new Error(`refs/heads/${branch} is not there after a commit`)
    this.#shown = `${branch} ${hash}`
    return hash
  }

  /** Sets a submodule to a commit, in a commit of its own, whose hash it gives. */
  addSubmodule(
    path: string,
    submodule: { readonly url: string; readonly hash: string },
    options: CommitOptions = {},
  ): Promise<string> {
    return this.commit(async (tree) => {
      await mkdir(join(tree, path), { recursive: true })
      const set = (key: string, value: string) =>
        this.#inTree(['config', '--file', '.gitmodules', `submodule.${path}.${key}`, value])
      await set('path', path)
      await set('url', submodule.url)
      await this.#inTree(['update-index', '--add', '--cacheinfo', `160000,${submodule.hash},${path}`])
    }, options)
  }

  /** Sets a tag, also one that is there; gives the hash of what it refers to, which may be a tag object. */
  async tag(name: string, { target = 'HEAD', annotated, sign }: TagOptions = {}): Promise<string> {
    const kind = sign ? ['--sign'] : annotated ? ['--annotate'] : []
    const message = kind.length > 0 ? ['-m', `The tag ${name}`] : []
    await this.git(['tag', '--force', ...kind, ...message, name, target], this.#authored(sign))
    return this.rev(`refs/tags/${name}`)
  }

  /** Sets a branch to a commit, HEAD unless given; gives its hash. */
  async branch(name: string, target = 'HEAD'): Promise<string> {
    await this.setRef(`refs/heads/${name}`, target)
    return this.rev(`refs/heads/${name}`)
  }

  /** Sets a branch to a commit that need not follow from its last one. */
  forcePush(branch: string, target: string): Promise<void> {
    return this.setRef(`refs/heads/${branch}`, target)
  }

  async setRef(ref: string, target: string): Promise<void> {
    await this.git(['update-ref', ref, target])
  }

  async deleteRef(ref: string): Promise<void> {
    await this.git(['update-ref', '-d', ref])
  }

  /** Sets HEAD to a ref, which need not be there, or to a commit's hash. */
  async setHead(target: string): Promise<void> {
    const text = target.startsWith('refs/') ? `ref: ${target}` : target
    await writeFile(join(this.directory, 'HEAD'), `${text}\n`)
  }

  async rev(ref: string): Promise<string> {
    return (await this.git(['rev-parse', '--verify', ref])).trim()
  }

  /** Damages the file of an object that `commit` or `tag` has made. */
  async damage(hash: string, damage: Damage): Promise<void> {
    const file = this.#fileOf(hash)
    const content = await readFile(file)
    await rm(file)
    if (damage === 'missing') return
    if (typeof damage === 'object') await writeFile(file, await readFile(this.#fileOf(damage.as)))
    else if (damage === 'empty') await writeFile(file, '')
    else await writeFile(file, content.fill(0x5a, content.length >> 1))
    await chmod(file, 0o444)
  }

  /** Runs git in the bare repository; gives stdout. */
  git(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return runGit(args, { cwd: this.directory, ...options })
  }

  #fileOf(hash: string): string {
    return join(this.directory, 'objects', hash.slice(0, 2), hash.slice(2))
  }

  #authored(signer?: Signer): RunOptions {
    this.#second += 1
    const date = `${this.#second} +0000`
    return {
      env: {
        GIT_AUTHOR_NAME: 'Tester',
        GIT_AUTHOR_EMAIL: 'tester@example.com',
        GIT_AUTHOR_DATE: date,
        GIT_COMMITTER_NAME: 'Tester',
        GIT_COMMITTER_EMAIL: 'tester@example.com',
        GIT_COMMITTER_DATE: date,
        ...signer?.env,
      },
    }
  }

  /** A linked worktree without a trace of it in the bare repository: commits go right to its branches. */
  #inTree(args: readonly string[], signer?: Signer): Promise<string> {
    const place = { GIT_DIR: this.#scratch, GIT_WORK_TREE: this.#tree }
    return runGit(args, { cwd: this.#tree, env: { ...this.#authored(signer).env, ...place } })
  }

  async #show(branch: string): Promise<void> {
    const ref = `refs/heads/${branch}`
    let tip = await this.#tip(ref)
    if (tip === undefined) {
      const head = (await readFile(join(this.directory, 'HEAD'), 'utf8')).trim().replace(/^ref: /, '')
      tip = head.startsWith('refs/') ? await this.#tip(head) : head
      if (tip !== undefined) await this.setRef(ref, tip)
    }
    if (this.#shown === `${branch} ${tip}`) return
    await writeFile(join(this.#scratch, 'HEAD'), `ref: ${ref}\n`)
    if (tip !== undefined) await this.#inTree(['reset', '--quiet', '--hard'])
    else {
      await rm(join(this.#scratch, 'index'), { force: true })
      for (const name of await readdir(this.#tree)) await rm(join(this.#tree, name), { recursive: true })
    }
  }

  async #write(files: Files): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const file = join(this.#tree, path)
      if (content === null) await rm(file, { recursive: true })
      else {
        await mkdir(dirname(file), { recursive: true })
        await writeFile(file, content)
      }
    }
  }

  /** Without a process. */
  async #tip(ref: string): Promise<string | undefined> {
    const loose = await readFile(join(this.directory, ref), 'utf8').catch(() => undefined)
    if (loose !== undefined) return loose.trim()
    const packed = await readFile(join(this.directory, 'packed-refs'), 'utf8').catch(() => '')
    const line = packed.split('\n').find((text) => text.endsWith(` ${ref}`))
    return line?.split(' ')[0]
  }
}
