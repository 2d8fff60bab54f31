import { createHash } from 'node:crypto'
import { mkdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Access } from './access.ts'
import { checkRef, checkRepo, isHash } from './address.ts'
import { type CopyState, publishCopy, readCopyState } from './copy-tree.ts'
import { credentialFor } from './credential-for.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import type { Git } from './git.ts'
import { GitError } from './git-error.ts'
import { endOrphans } from './orphans.ts'
import { publishLink, readLink, removeLinkLeftovers } from './publish-link.ts'
import { isRepository, removeLeftovers, removeSetAside, setAside } from './recover.ts'
import { candidatesOf, chosenRef, listRemote, type RemoteRef } from './remote-ref.ts'
import { checkSignature, type Signers } from './signature.ts'
import {
  createTree,
  dropTree,
  isUnchanged,
  listTrees,
  noteReplaced,
  type Recipe,
  recipeOf,
  replacedAt,
  type Tree,
} from './worktree.ts'

export interface MirrorOptions {
  readonly git: Git
  /** Holds `.git` and `.worktrees`; made where it is missing. Nothing else in it is touched. */
  readonly directory: string
  /** Absolute path of what is published: a symbolic link, or with `copy` a directory. */
  readonly link: string
  /** URL without a password, `user@host:path` or a local path. */
  readonly repo: string
  /** Branch, tag, whole name of a ref, HEAD or a whole hash. */
  readonly ref: string
  /** How many commits of history are fetched; 0 for all. */
  readonly depth?: number
  /** Of a partial clone: `blob:none`. */
  readonly filter?: string
  readonly submodules?: 'recursive' | 'shallow' | 'off'
  /** File with patterns, gitignore(5); a change of it makes a new tree of the same commit. */
  readonly sparseCheckoutFile?: string
  readonly gc?: 'auto' | 'always' | 'aggressive' | 'off'
  /**
   * `link` switches all files at once. `copy` is for volumes without symbolic links and mounts of a subdirectory: each
   * file is switched by itself.
   */
  readonly publish?: 'link' | 'copy'
  /** For how long a tree stays after another has taken its place, ms. */
  readonly staleAfterMs?: number
  /** Publishes only what one of these has signed. */
  readonly signers?: Signers
  /** Asked before `git ls-remote`; what it does not know, git is asked. */
  readonly refs?: RefSource
  readonly onEvent?: (event: MirrorEvent) => void
}

/** Tells refs of a remote more cheaply than a process can. */
export interface RefSource {
  list(
    names: readonly string[],
    options: {
      readonly credential?: { readonly username: string; readonly password: string }
      readonly signal: AbortSignal
    },
  ): Promise<readonly RemoteRef[] | undefined>
}

export type MirrorEvent =
  /** The remote has another commit than the one published. */
  | { readonly type: 'moved'; readonly ref: string; readonly hash: string }
  | { readonly type: 'fetched'; readonly hash: string; readonly ms: number }
  /** Leftovers of a crash are gone: locks, half-written objects, trees. */
  | { readonly type: 'recovered'; readonly removed: readonly string[]; readonly processes: number }
  /** The repository could not be used and is made anew. */
  | { readonly type: 'rebuilt'; readonly why: string }
  /** Files of the published tree were changed or removed by somebody else; it is replaced by a whole one. */
  | { readonly type: 'damaged'; readonly tree: Tree }
  /** Somebody holds what should be gone; it is tried again. */
  | { readonly type: 'not-removed'; readonly paths: readonly string[] }
  | { readonly type: 'housekeeping-failed'; readonly error: unknown }

export interface SyncOptions {
  readonly access?: Access
  /** Ends the sync, and the processes of git that it has started. */
  readonly signal: AbortSignal
  /** Called with the finished tree before it is published; what it throws keeps the old one. */
  readonly beforePublish?: (tree: Tree) => Promise<void>
}

export interface SyncResult {
  readonly outcome: 'unchanged' | 'published'
  readonly tree: Tree
  /** The ref is a hash: it will never change. */
  readonly isPinned: boolean
}

/** Keeps one published tree at a ref. */
export interface Mirror extends AsyncDisposable {
  /** What was published last, by this or an earlier process; undefined before the first sync has looked. */
  readonly published: Tree | undefined
  /**
   * Asks the remote, and publishes its commit if that is another one. Whatever it throws, the published tree is whole
   * and stays. One at a time.
   */
  sync(options: SyncOptions): Promise<SyncResult>
}

/**
 * Does nothing yet: a directory that cannot be used now may be usable at a later sync.
 * @throws RefusedAddress for a repository or ref that must not reach git
 */
export function openMirror(options: MirrorOptions): Mirror {
  checkRepo(options.repo)
  checkRef(options.ref)
  return new RefMirror(options)
}

interface Live {
  readonly tree: Tree
  /** Of the recipe; undefined where the tree is not known to be whole. */
  readonly digest: string | undefined
}

class RefMirror implements Mirror {
  readonly #options: MirrorOptions
  /** Without symbolic links, once it is there: trees are told apart by their paths. */
  #directory: string
  #lock: DirectoryLock | undefined
  #live: Live | undefined
  /** Whether the directory was looked at since the last failure. */
  #isReady = false
  #isChecked = false
  #isAddressSet = false
  /** Why the repository itself may be at fault. */
  #suspicion: string | undefined
  /** The remote's answer for a pinned hash never changes: what that hash stands for. */
  #pinnedTo: string | undefined
  #running: Promise<unknown> | undefined
  #isClosed = false
  readonly #replaced = new Map<string, number>()

  constructor(options: MirrorOptions) {
    this.#options = options
    this.#directory = options.directory
  }

  get published(): Tree | undefined {
    return this.#live?.tree
  }

  async sync(options: SyncOptions): Promise<SyncResult> {
    if (this.#running !== undefined) throw new Error('one sync at a time')
    if (this.#isClosed) throw new Error('the mirror is closed')
    const running = this.#guarded(options)
    this.#running = running
    try {
      return await running
    } finally {
      this.#running = undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.#running?.catch(() => undefined)
    await this.#lock?.[Symbol.asyncDispose]()
    this.#lock = undefined
  }

  async #guarded(options: SyncOptions): Promise<SyncResult> {
    try {
      const lock = await this.#own()
      return await this.#sync({ ...options, signal: AbortSignal.any([options.signal, lock.lost]) })
    } catch (error) {
      this.#isReady = false
      if (this.#lock?.lost.aborted) {
        await this.#lock[Symbol.asyncDispose]()
        this.#lock = undefined
      }
      throw error
    }
  }

  async #own(): Promise<DirectoryLock> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o775 })
    this.#directory = await realpath(this.#options.directory)
    this.#lock ??= await lockDirectory(this.#directory)
    return this.#lock
  }

  async #sync({ access = {}, signal, beforePublish }: SyncOptions): Promise<SyncResult> {
    const { ref } = this.#options
    if (!this.#isReady) await this.#recover(signal)
    this.#isReady = true
    const recipe = await this.#recipe()
    const isPinned = isHash(ref)
    const unchanged = (): SyncResult | undefined =>
      this.#live === undefined || this.#live.digest !== recipe.digest
        ? undefined
        : { outcome: 'unchanged', tree: this.#live.tree, isPinned }
    const asked = isPinned ? { name: ref, hash: this.#pinnedTo ?? ref } : await this.#ask(access, signal)
    const told = asked.peeled ?? asked.hash
    if (this.#live?.tree.hash === told && !(await this.#isTooShallow())) {
      const result = unchanged()
      if (result !== undefined) {
        await this.#removeReplaced()
        return result
      }
    }
    this.#tell({ type: 'moved', ref: asked.name, hash: told })
    const fetched = await this.#suspecting(signal, async () => {
      await this.#makeRepository(told.length === 64 ? 'sha256' : 'sha1', signal)
      return await this.#fetch(asked.name, access, signal)
    })
    if (isPinned) this.#pinnedTo = fetched.commit
    if (this.#live?.tree.hash === fetched.commit) {
      const result = unchanged()
      if (result !== undefined) return result
    }
    const { git, signers } = this.#options
    if (signers !== undefined)
      await checkSignature(git, this.#directory, { ...fetched, name: asked.name }, signers, signal)
    const tree = await this.#suspecting(signal, () => this.#tree(fetched.commit, recipe, access, signal))
    await beforePublish?.(tree)
    await this.#publish({ tree, digest: recipe.digest }, signal)
    await this.#cleanUp(signal)
    return { outcome: 'published', tree, isPinned }
  }

  /** What fails here may be the fault of the repository, which is checked before the next try. */
  async #suspecting<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!signal.aborted && error instanceof GitError && /^(corrupt|other)$/.test(error.kind))
        this.#suspicion = error.message
      throw error
    }
  }

  /** Puts in order what a crash, a failure or somebody else has left. */
  async #recover(signal: AbortSignal): Promise<void> {
    const directory = this.#directory
    const gitDirectory = join(directory, '.git')
    const processes = await endOrphans(directory)
    await removeSetAside(directory)
    if (await isRepository(gitDirectory)) await this.#check(signal)
    else await this.#rebuild(undefined)
    const removed = [...(await removeLeftovers(gitDirectory))]
    if (this.#options.publish !== 'copy') await removeLinkLeftovers(this.#options.link)
    this.#live = await this.#findLive(signal)
    this.#replaced.clear()
    for (const { path } of await listTrees(directory)) {
      if (path === this.#live?.tree.path) continue
      if ((await recipeOf(directory, path)) !== undefined) {
        this.#replaced.set(path, await replacedAt(directory, path))
      } else if ((await dropTree(directory, path)).length === 0) {
        removed.push(path)
      } else {
        this.#replaced.set(path, 0)
      }
    }
    if (removed.length > 0 || processes > 0) this.#tell({ type: 'recovered', removed, processes })
  }

  /** Only after a failure that may be its own fault, since it reads all objects. */
  async #check(signal: AbortSignal): Promise<void> {
    if (this.#suspicion === undefined) return
    const why = this.#suspicion
    const { git } = this.#options
    try {
      await git.run(['fsck', '--no-dangling', '--no-progress'], { directory: this.#directory, signal })
    } catch (error) {
      if (signal.aborted) throw error
      await this.#rebuild(`${why}; ${(error as Error).message}`)
    }
    this.#suspicion = undefined
  }

  async #rebuild(why: string | undefined): Promise<void> {
    const isThere = (await stat(join(this.#directory, '.git')).catch(() => undefined)) !== undefined
    await setAside(this.#directory)
    this.#isAddressSet = false
    if (isThere) this.#tell({ type: 'rebuilt', why: why ?? 'it lacks what git needs' })
    // Not before it is told: on a full disk this may fail.
    await removeSetAside(this.#directory)
  }

  async #findLive(signal: AbortSignal): Promise<Live | undefined> {
    const directory = this.#directory
    const tree = await this.#liveTree()
    if (tree === undefined) return undefined
    let digest = await recipeOf(directory, tree.path)
    if (digest !== undefined && !this.#isChecked) {
      this.#isChecked = true
      const { git } = this.#options
      if (!(await isUnchanged({ git, directory, access: {}, signal }, tree.path))) {
        this.#tell({ type: 'damaged', tree })
        digest = undefined
      }
    }
    return { tree, digest }
  }

  async #liveTree(): Promise<Tree | undefined> {
    const { link, publish } = this.#options
    if (publish !== 'copy') {
      const published = await readLink(link)
      return published !== undefined && isHash(published.hash)
        ? { hash: published.hash, path: published.target }
        : undefined
    }
    const state: CopyState | undefined = await readCopyState(this.#copyState)
    if (state === undefined || !state.isComplete) return undefined
    const trees = await listTrees(this.#directory)
    return trees.find(({ hash }) => hash === state.hash)
  }

  get #copyState(): string {
    return join(this.#directory, '.git', 'outrider-copy')
  }

  /** Files are read at each sync, so that a change of them takes effect. */
  async #recipe(): Promise<Recipe> {
    const { submodules = 'recursive', depth = 1, sparseCheckoutFile, signers } = this.#options
    const read = async (file: string | undefined) =>
      file === undefined ? undefined : await readFile(file, 'utf8')
    const sparse = await read(sparseCheckoutFile)
    const parts = [submodules, sparse, await read(signers?.allowedSigners), await read(signers?.gpgKeys)]
    const digest = createHash('sha256')
      .update(JSON.stringify(parts.map((part) => part ?? null)))
      .digest('hex')
    return { submodules, depth, digest, ...(sparse !== undefined && { sparse }) }
  }

  async #ask(access: Access, signal: AbortSignal): Promise<RemoteRef> {
    const { git, repo, ref, refs: source } = this.#options
    const credential = credentialFor(repo, access.credentials ?? [])
    const cheap = await source?.list(candidatesOf(ref), {
      signal,
      ...(credential !== undefined && { credential }),
    })
    // Git has the last word on what is not there.
    const found =
      chosenRef(ref, cheap ?? []) ??
      chosenRef(ref, await listRemote(git, repo, ref, { access, signal, directory: this.#directory }))
    if (found === undefined)
      throw new GitError(
        'ls-remote',
        'no-ref',
        `the remote has no ${ref}: neither a branch nor a tag has this name, or the repository is empty`,
      )
    return found
  }

  /** A clone of few commits that should have all of them is completed even where its commit is the right one. */
  async #isTooShallow(): Promise<boolean> {
    return this.#options.depth === 0 && (await this.#isShallow())
  }

  async #isShallow(): Promise<boolean> {
    return (await stat(join(this.#directory, '.git', 'shallow')).catch(() => undefined)) !== undefined
  }

  async #makeRepository(format: 'sha1' | 'sha256', signal: AbortSignal): Promise<void> {
    const { git, repo } = this.#options
    const directory = this.#directory
    const options = { directory, signal }
    const gitDirectory = join(directory, '.git')
    if (await isRepository(gitDirectory)) {
      const config = await readFile(join(gitDirectory, 'config'), 'utf8')
      const current = /^\s*objectformat\s*=\s*sha256\s*$/im.test(config) ? 'sha256' : 'sha1'
      if (current !== format) await this.#rebuild(`the remote now has ${format} hashes`)
    }
    if (!(await isRepository(gitDirectory))) {
      await git.run(['init', '--quiet', '--template=', `--object-format=${format}`, directory], options)
      this.#isAddressSet = false
    }
    if (this.#isAddressSet) return
    // A partial clone fetches what it lacks from this address.
    await git.run(['config', '--local', '--replace-all', 'remote.origin.url', repo], options)
    this.#isAddressSet = true
  }

  async #fetch(
    name: string,
    access: Access,
    signal: AbortSignal,
  ): Promise<{ readonly object: string; readonly commit: string }> {
    const { git, depth = 1, filter } = this.#options
    const begun = performance.now()
    const options = { directory: this.#directory, access, signal }
    const isShallow = await this.#isShallow()
    const history = depth > 0 ? [`--depth=${depth}`] : isShallow ? ['--unshallow'] : []
    const args = [
      ...['fetch', '--quiet', '--no-tags', '--no-recurse-submodules', '--no-auto-maintenance'],
      ...['--no-write-fetch-head', '--force', ...history],
      ...(filter === undefined ? [] : [`--filter=${filter}`]),
      ...['--', 'origin', `+${name}:${incoming}`],
    ]
    await git.run(args, options)
    const hashes = await git.run(['rev-parse', incoming, `${incoming}^{commit}`], options)
    const [object = '', commit = ''] = hashes.trim().split('\n')
    if (!isHash(object) || !isHash(commit))
      throw new GitError('rev-parse', 'other', `git told no hash of ${name}`)
    this.#tell({ type: 'fetched', hash: commit, ms: performance.now() - begun })
    return { object, commit }
  }

  /** A whole tree of the commit: one that there is already, or a new one. */
  async #tree(commit: string, recipe: Recipe, access: Access, signal: AbortSignal): Promise<Tree> {
    const { git } = this.#options
    const directory = this.#directory
    const work = { git, directory, access, signal }
    const kept = (await listTrees(directory)).filter(
      ({ hash, path }) => hash === commit && path !== this.#live?.tree.path,
    )
    for (const tree of kept) {
      const isSame = (await recipeOf(directory, tree.path)) === recipe.digest
      if (isSame && (await isUnchanged(work, tree.path))) return tree
      await this.#drop(tree.path)
    }
    return await createTree(work, commit, recipe)
  }

  async #publish(next: Live, signal: AbortSignal): Promise<void> {
    const { link, publish } = this.#options
    const before = this.#live
    if (publish === 'copy')
      await publishCopy({
        tree: next.tree.path,
        target: link,
        state: this.#copyState,
        hash: next.tree.hash,
        signal,
      })
    else {
      await mkdir(dirname(link), { recursive: true })
      await publishLink(link, next.tree.path)
    }
    this.#live = next
    this.#replaced.delete(next.tree.path)
    if (before === undefined || before.tree.path === next.tree.path) return
    await noteReplaced(this.#directory, before.tree.path)
    this.#replaced.set(before.tree.path, Date.now())
  }

  /** After publishing, so nothing here fails the sync. */
  async #cleanUp(signal: AbortSignal): Promise<void> {
    try {
      const hasRemoved = await this.#removeReplaced()
      const { git, gc = 'always' } = this.#options
      if (!hasRemoved || gc === 'off') return
      const how = { auto: ['--auto'], always: [], aggressive: ['--aggressive'] }[gc]
      // Told by the option, since our own setting switches `--auto` off.
      const settings = gc === 'auto' ? ([['gc.auto', '6700']] as const) : []
      await git.run(['gc', '--quiet', '--prune=now', ...how], {
        directory: this.#directory,
        signal,
        settings,
      })
    } catch (error) {
      this.#isReady = false
      this.#tell({ type: 'housekeeping-failed', error })
    }
  }

  /** Removes the trees whose time is over. @returns whether there was one */
  async #removeReplaced(): Promise<boolean> {
    const { staleAfterMs = 0 } = this.#options
    let hasRemoved = false
    for (const [path, since] of this.#replaced) {
      if (Date.now() - since < staleAfterMs) continue
      if (await this.#drop(path)) hasRemoved = true
    }
    return hasRemoved
  }

  async #drop(path: string): Promise<boolean> {
    const left = await dropTree(this.#directory, path)
    if (left.length > 0) {
      this.#replaced.set(path, 0)
      this.#tell({ type: 'not-removed', paths: left })
      return false
    }
    this.#replaced.delete(path)
    return true
  }

  #tell(event: MirrorEvent): void {
    this.#options.onEvent?.(event)
  }
}

/** Keeps what was fetched last, an annotated tag with its signature too. */
const incoming = 'refs/outrider/incoming'
