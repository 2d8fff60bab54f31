import { createHash } from 'node:crypto'
import { lstat, readFile, realpath, stat } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import type { Access } from './access.ts'
import { checkRef, checkRepo, isHash } from './address.ts'
import { type CopyState, publishCopy, readCopyState } from './copy-tree.ts'
import { credentialFor } from './credential-for.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { errnoOf, fileError } from './file-error.ts'
import type { Git } from './git.ts'
import { GitError } from './git-error.ts'
import { makeDirectory } from './make-directory.ts'
import { endOrphans } from './orphans.ts'
import { publishLink, readLink, removeLinkLeftovers } from './publish-link.ts'
import { isRepository, removeLeftovers, removeSetAside, setAside } from './recover.ts'
import { candidatesOf, chosenRef, listRemote, type RemoteRef } from './remote-ref.ts'
import { faultOf } from './repository-check.ts'
import { restoreConfig } from './repository-config.ts'
import { RetiredTrees } from './retired-trees.ts'
import { checkSignature, type Signers } from './signature.ts'
import { readSmallFile } from './small-file.ts'
import {
  createTree,
  isOwnTree,
  isUnchanged,
  listTrees,
  noteReplaced,
  type Recipe,
  recipeOf,
  removeTraces,
  requireTreesHere,
  type Tree,
} from './worktree.ts'

export interface MirrorOptions {
  readonly git: Git
  /** Holds `.git` and `.worktrees`; made where it is missing. Nothing else in it is touched. */
  readonly directory: string
  /** Absolute path of what is published: a symbolic link, or with `copy` a directory. */
  readonly link: string
  /** URL without a password, and in HTTP without a user; `user@host:path`; or a local path. */
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
  /** What is published was changed or removed by somebody else; it is replaced by a whole one. */
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
  #retired: RetiredTrees
  /** Whether the directory was looked at since the last failure. */
  #isReady = false
  #isChecked = false
  /** Whether all of the history was fetched: boundaries of commits long gone may stay noted. */
  #isComplete = false
  /** After this error the repository was found to be in order. */
  #unfounded: string | undefined
  /** Trees were removed whose objects are still there. */
  #owesGc = false
  /** The remote's answer for a pinned hash never changes: what that hash stands for. */
  #pinnedTo: string | undefined
  #running: Promise<unknown> | undefined
  #isClosed = false

  constructor(options: MirrorOptions) {
    this.#options = options
    this.#directory = options.directory
    this.#retired = this.#noneRetired()
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
    await this.#giveUp()
  }

  async #guarded(options: SyncOptions): Promise<SyncResult> {
    try {
      const lock = await this.#own()
      return await this.#sync({ ...options, signal: AbortSignal.any([options.signal, lock.lost]) })
    } catch (error) {
      this.#isReady = false
      if (this.#lock !== undefined && isFull(error)) await this.#makeRoom()
      throw error
    }
  }

  /** What was half made goes at once: a process that begins on a full volume may not even be able to lock it. */
  async #makeRoom(): Promise<void> {
    await this.#recover(AbortSignal.timeout(makeRoomMs)).catch((error: unknown) =>
      this.#tell({ type: 'housekeeping-failed', error }),
    )
  }

  async #own(): Promise<DirectoryLock> {
    const real = await madeDirectory(this.#options.directory)
    if (this.#lock?.lost.aborted || real !== this.#directory) await this.#giveUp()
    if (this.#lock !== undefined) return this.#lock
    this.#lock = await lockDirectory(real)
    this.#directory = real
    this.#retired = this.#noneRetired()
    this.#isReady = false
    return this.#lock
  }

  async #giveUp(): Promise<void> {
    const lock = this.#lock
    this.#lock = undefined
    await lock?.[Symbol.asyncDispose]()
  }

  #noneRetired(): RetiredTrees {
    return new RetiredTrees({
      directory: this.#directory,
      staleAfterMs: this.#options.staleAfterMs ?? 0,
      onLeft: (paths) => this.#tell({ type: 'not-removed', paths }),
    })
  }

  async #sync({ access = {}, signal, beforePublish }: SyncOptions): Promise<SyncResult> {
    await this.#lookAtLive()
    if (!this.#isReady) await this.#recover(signal)
    this.#isReady = true
    const { ref } = this.#options
    const recipe = await this.#recipe()
    const isPinned = isHash(ref)
    const asked = isPinned ? { name: ref, hash: this.#pinnedTo ?? ref } : await this.#ask(access, signal)
    const told = asked.peeled ?? asked.hash
    let tree = (await this.#isTooShallow()) ? undefined : this.#liveOf(told, recipe)
    if (tree === undefined) {
      this.#tell({ type: 'moved', ref: asked.name, hash: told })
      tree = await this.#mending(signal, () => this.#bring(asked.name, told, recipe, access, signal))
    }
    if (tree.path === this.#live?.tree.path) {
      await this.#cleanUp(signal)
      return { outcome: 'unchanged', tree, isPinned }
    }
    await beforePublish?.(tree)
    // The directory may be somebody else's by now.
    await this.#lock?.confirm()
    signal.throwIfAborted()
    await this.#publish({ tree, digest: recipe.digest }, signal)
    await this.#cleanUp(signal)
    return { outcome: 'published', tree, isPinned }
  }

  #liveOf(commit: string, recipe: Recipe): Tree | undefined {
    const live = this.#live
    return live?.tree.hash === commit && live.digest === recipe.digest ? live.tree : undefined
  }

  async #bring(
    name: string,
    told: string,
    recipe: Recipe,
    access: Access,
    signal: AbortSignal,
  ): Promise<Tree> {
    await this.#makeRepository(told.length === 64 ? 'sha256' : 'sha1', signal)
    const fetched = await this.#fetch(name, access, signal)
    const { git, ref, signers } = this.#options
    if (isHash(ref)) this.#pinnedTo = fetched.commit
    const live = this.#liveOf(fetched.commit, recipe)
    if (live !== undefined) return live
    if (signers !== undefined)
      await checkSignature(git, this.#directory, { ...fetched, name }, signers, signal)
    return await this.#tree(fetched.commit, recipe, access, signal)
  }

  /** Does the work again, once, where it failed because of the repository, which is made anew then. */
  async #mending<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const why = await this.#faultBehind(error, signal)
      if (why === undefined) throw error
      await this.#rebuild(why)
      return await work()
    }
  }

  /** Looked for only after an error that may come of it, since all objects are read. */
  async #faultBehind(error: unknown, signal: AbortSignal): Promise<string | undefined> {
    if (!(error instanceof GitError) || !/^(corrupt|other)$/.test(error.kind)) return undefined
    if (error.exitCode === undefined || error.message === this.#unfounded) return undefined
    const fault = await faultOf(this.#options.git, this.#directory, signal).catch((other: unknown) => {
      // What is told is the error, not that its cause was not found in time.
      if (!signal.aborted) throw other
      return undefined
    })
    this.#unfounded = error.message
    return fault === undefined ? undefined : `${error.message}; ${fault}`
  }

  /** Puts in order what a crash, a failure or somebody else has left. */
  async #recover(signal: AbortSignal): Promise<void> {
    const directory = this.#directory
    const gitDirectory = join(directory, '.git')
    await requireTreesHere(directory)
    const processes = await endOrphans(directory)
    if (await this.#isUsable()) await this.#removeSetAside()
    else await this.#rebuild(undefined)
    const removed = [...(await removeLeftovers(gitDirectory))]
    if (this.#options.publish !== 'copy') await removeLinkLeftovers(this.#options.link)
    this.#live = await this.#findLive(signal)
    const livePath = this.#live?.tree.path
    if (livePath !== undefined) this.#retired.delete(livePath)
    for (const { path } of await listTrees(directory)) {
      if (path === livePath) continue
      if ((await recipeOf(directory, path)) !== undefined) await this.#retired.find(path)
      else if (await this.#retired.drop(path)) removed.push(path)
    }
    removed.push(...(await removeTraces(directory)))
    if (removed.length > 0 || processes > 0) this.#tell({ type: 'recovered', removed, processes })
  }

  async #rebuild(why: string | undefined): Promise<void> {
    const isThere = (await lstat(join(this.#directory, '.git')).catch(() => undefined)) !== undefined
    await setAside(this.#directory)
    this.#isComplete = false
    // What git keeps of the published tree is gone with it.
    if (this.#live !== undefined) this.#live = { tree: this.#live.tree, digest: undefined }
    if (isThere) this.#tell({ type: 'rebuilt', why: why ?? 'it lacks what git needs' })
    await this.#removeSetAside()
  }

  async #removeSetAside(): Promise<void> {
    const left = await removeSetAside(this.#directory)
    if (left.length > 0) this.#tell({ type: 'not-removed', paths: left })
  }

  /** A look at names, not at the files in the tree: others may have removed it, or set the link to somewhere else. */
  async #lookAtLive(): Promise<void> {
    const live = this.#live
    if (live === undefined || !this.#isReady) return
    const isWhole = (await recipeOf(this.#directory, live.tree.path)) === live.digest
    if (isWhole && (await this.#liveTree())?.path === live.tree.path) return
    this.#tell({ type: 'damaged', tree: live.tree })
    this.#isReady = false
    this.#isChecked = false
  }

  async #findLive(signal: AbortSignal): Promise<Live | undefined> {
    const directory = this.#directory
    const { git, publish } = this.#options
    const tree = await this.#liveTree()
    if (tree === undefined) return undefined
    const digest = await recipeOf(directory, tree.path)
    if (digest === undefined || this.#isChecked) return { tree, digest }
    const isWhole = await isUnchanged({ git, directory, access: {}, signal }, tree.path)
    if (!isWhole) this.#tell({ type: 'damaged', tree })
    // Whatever has become of the copy meanwhile.
    else if (publish === 'copy') await this.#copy(tree, signal)
    this.#isChecked = true
    return { tree, digest: isWhole ? digest : undefined }
  }

  async #liveTree(): Promise<Tree | undefined> {
    const { link, publish } = this.#options
    if (publish === 'copy') {
      const state: CopyState | undefined = await readCopyState(this.#copyState)
      const path = resolve(this.#directory, state?.hash ?? '')
      if (!state?.isComplete || !isOwnTree(this.#directory, path)) return undefined
      return (await isDirectory(path)) && (await isDirectory(link))
        ? { hash: basename(path), path }
        : undefined
    }
    const published = await readLink(link)
    if (published === undefined || !isHash(published.hash)) return undefined
    return (await isDirectory(published.target))
      ? { hash: published.hash, path: published.target }
      : undefined
  }

  get #copyState(): string {
    return join(this.#directory, '.git', 'outrider-copy')
  }

  async #copy(tree: Tree, signal: AbortSignal): Promise<void> {
    await publishCopy({
      tree: tree.path,
      target: this.#options.link,
      state: this.#copyState,
      // More than the hash: there may be several trees of a commit.
      hash: relative(this.#directory, tree.path),
      signal,
    })
  }

  /** Files are read at each sync, so that a change of them takes effect. */
  async #recipe(): Promise<Recipe> {
    const { submodules = 'recursive', depth = 1, sparseCheckoutFile, signers } = this.#options
    const sparse = await contentOf(sparseCheckoutFile)
    const files = [sparse, await contentOf(signers?.allowedSigners), await contentOf(signers?.gpgKeys)]
    const digest = createHash('sha256')
      .update(JSON.stringify([submodules, ...files.map((content) => content?.toString('base64') ?? null)]))
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
    return this.#options.depth === 0 && !this.#isComplete && (await this.#isShallow())
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
      const config = await readSmallFile(join(gitDirectory, 'config')).catch(() => '')
      const current = /^\s*objectformat\s*=\s*sha256\s*$/im.test(config) ? 'sha256' : 'sha1'
      if (current !== format) await this.#rebuild(`the remote now has ${format} hashes`)
    }
    if (await this.#isUsable()) return
    await git.run(['init', '--quiet', '--template=', `--object-format=${format}`, directory], options)
    await restoreConfig(gitDirectory, repo)
  }

  /** Whether there is a repository, which then has no settings but ours. */
  async #isUsable(): Promise<boolean> {
    const gitDirectory = join(this.#directory, '.git')
    return (await isRepository(gitDirectory)) && (await restoreConfig(gitDirectory, this.#options.repo))
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
    for (const tree of await listTrees(directory)) {
      if (tree.hash !== commit || tree.path === this.#live?.tree.path) continue
      const isSame = (await recipeOf(directory, tree.path)) === recipe.digest
      if (isSame && (await isUnchanged(work, tree.path))) return tree
    }
    // While no sync succeeds, those that were made and not published would pile up.
    if (await this.#retired.removeDue()) this.#owesGc = true
    return await createTree(work, commit, recipe)
  }

  async #publish(next: Live, signal: AbortSignal): Promise<void> {
    const { link, publish } = this.#options
    const before = this.#live?.tree.path
    // Before it happens, so that a kill at this moment does not make it look like one that nobody has used.
    if (before !== undefined) await noteReplaced(this.#directory, before)
    if (publish === 'copy') await this.#copy(next.tree, signal)
    else await publishLink(link, next.tree.path)
    this.#live = next
    this.#unfounded = undefined
    this.#retired.delete(next.tree.path)
    if (before !== undefined) this.#retired.add(before)
  }

  /** Nothing here fails the sync. */
  async #cleanUp(signal: AbortSignal): Promise<void> {
    try {
      if (await this.#retired.removeDue()) this.#owesGc = true
      const { git, gc = 'always' } = this.#options
      if (!this.#owesGc || gc === 'off') return
      this.#owesGc = false
      const how = { auto: ['--auto'], always: [], aggressive: ['--aggressive'] }[gc]
      // Told by the option, since our own setting switches `--auto` off.
      const settings = gc === 'auto' ? ([['gc.auto', '6700']] as const) : []
      const args = ['gc', '--quiet', '--prune=now', ...how]
      await git.run(args, { directory: this.#directory, signal, settings })
    } catch (error) {
      this.#isReady = false
      this.#tell({ type: 'housekeeping-failed', error })
    }
  }

  #tell(event: MirrorEvent): void {
    this.#options.onEvent?.(event)
  }
}

const makeRoomMs = 30_000

const isFull = (error: unknown): boolean =>
  (error instanceof GitError && error.kind === 'no-space') || /^(ENOSPC|EDQUOT)$/.test(errnoOf(error) ?? '')

/** Keeps what was fetched last, an annotated tag with its signature too. */
const incoming = 'refs/outrider/incoming'

async function madeDirectory(path: string): Promise<string> {
  try {
    await makeDirectory(path, 0o775)
    return await realpath(path)
  } catch (error) {
    throw fileError('make', path, error)
  }
}

async function contentOf(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined
  try {
    return await readFile(file)
  } catch (error) {
    throw fileError('read', file, error)
  }
}

const isDirectory = (path: string): Promise<boolean> =>
  lstat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  )
