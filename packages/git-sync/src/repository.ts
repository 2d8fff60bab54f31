import {
  type Access,
  type Git,
  type Mirror,
  type MirrorEvent,
  type MirrorOptions,
  openMirror,
  type RefSource,
  type Tree,
} from '@outrider/git-mirror'
import { errorKind } from './error-kind.ts'
import { type HookReport, HookRunner } from './hook-runner.ts'
import { runProgram } from './program.ts'
import { ErrorFile, TouchFile } from './report-file.ts'
import { HookRefusal, type SyncReport, startSyncLoop } from './sync-loop.ts'
import { createWebhook, type WebhookOptions } from './webhook.ts'

/** A program that is run in a new tree. */
export interface ExecHook {
  readonly command: string
  readonly timeoutMs: number
  readonly backoffMs: number
}

type MirrorSettings = Omit<MirrorOptions, 'git' | 'refs' | 'onEvent'>
type CalledWebhook = Omit<WebhookOptions, 'repository' | 'ref'> & { readonly backoffMs: number }

/** What is synced, from where to where, how often, and who is told. */
export interface RepositorySettings extends MirrorSettings {
  readonly name: string
  /** From which paths of files count that are not absolute. */
  readonly root: string
  readonly periodMs: number
  readonly initPeriodMs: number
  readonly timeoutMs: number
  readonly maxFailures: number
  readonly initMaxFailures: number
  readonly isOneTime: boolean
  readonly execHook?: ExecHook
  readonly prePublishHook?: ExecHook
  readonly webhook?: CalledWebhook
  readonly touchFile?: string
  readonly errorFile?: string
}

/** What a repository works with. */
export interface Surroundings {
  readonly git: Git
  /** Disposed of at the end. */
  readonly refs?: RefSource & AsyncDisposable
  /** Of hooks. */
  readonly environment: Readonly<Record<string, string>>
  readonly access: () => Promise<Access>
  readonly onSync: (report: SyncReport) => void
  readonly onEvent: (event: MirrorEvent) => void
  readonly onHook: (report: HookReport) => void
  /** A touch or error file cannot be written. */
  readonly onFileError: (error: Error) => void
}

export interface RepositoryStatus {
  readonly name: string
  readonly repo: string
  readonly ref: string
  readonly link: string
  readonly state: 'starting' | 'current' | 'failing'
  readonly hash: string | undefined
  /** Times are ms since 1970. */
  readonly lastSuccess: number | undefined
  readonly lastChange: number | undefined
  readonly failures: number
  readonly error: string | undefined
  /** What was wrong, in one word of `errorKind`. */
  readonly errorKind: string | undefined
  /** The commit that the remote has and that is not published, and since when that is known. */
  readonly ahead: { readonly hash: string; readonly since: number } | undefined
  readonly isPinned: boolean
}

/** One repository at work. Disposing ends the sync and the hooks in hand. */
export interface RepositorySync extends AsyncDisposable {
  /** By itself: after a one-time sync, or after too many failures. */
  readonly ended: Promise<'done' | 'failed'>
  status(): RepositoryStatus
  trigger(): void
  /** Begins nothing more; resolves when what is in hand is over. */
  stop(): Promise<void>
}

/**
 * Begins to sync.
 * @throws RefusedAddress for a repository or ref that must not reach git
 */
export function startRepository(settings: RepositorySettings, around: Surroundings): RepositorySync {
  return new Repository(settings, around)
}

class Repository implements RepositorySync {
  readonly ended: Promise<'done' | 'failed'>
  readonly #settings: RepositorySettings
  readonly #around: Surroundings
  readonly #mirror: Mirror
  readonly #hooks: readonly HookRunner[]
  readonly #touchFile: TouchFile | undefined
  readonly #errorFile: ErrorFile | undefined
  readonly #loop: ReturnType<typeof startSyncLoop>
  /** What of the touch and error files is still to be written. */
  #files: Promise<unknown> = Promise.resolve()
  #lastSuccess: number | undefined
  #lastChange: number | undefined
  /** When this process began to show what it shows: of the same commit, each call of the webhook says the same. */
  #shownSince = new Date()
  #failures = 0
  #error: Error | undefined
  #ahead: RepositoryStatus['ahead']
  #isPinned = false

  constructor(settings: RepositorySettings, around: Surroundings) {
    this.#settings = settings
    this.#around = around
    const { root, touchFile, errorFile } = settings
    const onError = around.onFileError
    this.#touchFile = touchFile === undefined ? undefined : new TouchFile({ root, path: touchFile, onError })
    this.#errorFile = errorFile === undefined ? undefined : new ErrorFile({ root, path: errorFile, onError })
    this.#hooks = [...this.#execHook(), ...this.#webhook()]
    this.#mirror = openMirror({
      ...settings,
      git: around.git,
      ...(around.refs !== undefined && { refs: around.refs }),
      onEvent: (event) => this.#see(event),
    })
    const { prePublishHook } = settings
    this.#loop = startSyncLoop({
      ...settings,
      mirror: this.#mirror,
      access: around.access,
      ...(prePublishHook !== undefined && {
        beforePublish: (tree, signal) => this.#beforePublish(prePublishHook, tree, signal),
      }),
      onSync: (report) => this.#report(report),
    })
    this.ended = this.#ending()
  }

  status(): RepositoryStatus {
    const { name, repo, ref, link } = this.#settings
    const state = this.#failures > 0 ? 'failing' : this.#lastSuccess === undefined ? 'starting' : 'current'
    return {
      ...{ name, repo, ref, link, state },
      hash: this.#mirror.published?.hash,
      lastSuccess: this.#lastSuccess,
      lastChange: this.#lastChange,
      failures: this.#failures,
      error: this.#error?.message,
      errorKind: this.#error === undefined ? undefined : errorKind(this.#error),
      ahead: this.#ahead,
      isPinned: this.#isPinned,
    }
  }

  trigger(): void {
    this.#loop.trigger()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    await Promise.all(this.#hooks.map((hook) => hook.stop()))
    await this.#close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
    await Promise.all(this.#hooks.map((hook) => hook[Symbol.asyncDispose]()))
    await this.#close()
  }

  async #close(): Promise<void> {
    // The process may end after this.
    await this.#files
    await this.#mirror[Symbol.asyncDispose]()
    await this.#around.refs?.[Symbol.asyncDispose]()
  }

  /** Of a one-time sync the hooks belong to the result. */
  async #ending(): Promise<'done' | 'failed'> {
    const ending = await this.#loop.ended
    const tree = this.#mirror.published
    if (ending === 'failed' || tree === undefined) return 'failed'
    const runs = await Promise.allSettled(this.#hooks.map((hook) => hook.runOnce(tree)))
    return runs.every(({ status }) => status === 'fulfilled') ? 'done' : 'failed'
  }

  #report(report: SyncReport): void {
    if (report.outcome === 'failed') {
      this.#failures = report.failures
      this.#error = report.error
      const said = {
        Msg: 'the sync failed',
        Err: report.error.message,
        Args: { failCount: report.failures, kind: errorKind(report.error) },
      }
      this.#files = Promise.all([this.#files, this.#errorFile?.write(said)])
    } else {
      this.#failures = 0
      this.#error = undefined
      this.#ahead = undefined
      this.#isPinned = report.isPinned
      this.#lastSuccess = Date.now()
      if (report.outcome === 'published') this.#lastChange = this.#lastSuccess
      const isNew = report.outcome === 'published' || report.isFirst
      if (isNew) this.#shownSince = new Date(this.#lastSuccess)
      const touched = isNew ? this.#touchFile?.touch() : undefined
      this.#files = Promise.all([this.#files, this.#errorFile?.clear(), touched])
      if (!this.#settings.isOneTime) for (const hook of this.#hooks) hook.request(report.tree)
    }
    this.#around.onSync(report)
  }

  #see(event: MirrorEvent): void {
    if (event.type === 'moved') {
      const { hash } = event
      // The same commit may have to be made into another tree.
      const isPublished = hash === this.#mirror.published?.hash
      this.#ahead = isPublished ? undefined : { hash, since: this.#ahead?.since ?? Date.now() }
    }
    this.#around.onEvent(event)
  }

  async #beforePublish(hook: ExecHook, tree: Tree, signal: AbortSignal): Promise<void> {
    const begun = performance.now()
    const report = (outcome: 'success' | 'error', error?: Error) =>
      this.#around.onHook({
        name: 'pre-publish-exechook',
        hash: tree.hash,
        outcome,
        ms: performance.now() - begun,
        ...(error !== undefined && { error }),
      })
    try {
      await this.#run(hook, tree.hash, tree.path, signal)
      report('success')
    } catch (error) {
      const refusal = new HookRefusal(
        `the hook before publishing failed: ${(error as Error).message}`,
        hook.backoffMs,
        error,
      )
      report('error', refusal)
      throw refusal
    }
  }

  async #run(hook: ExecHook, hash: string, directory: string, signal: AbortSignal): Promise<void> {
    const { command: program, timeoutMs } = hook
    await runProgram({ program, directory, hash, env: this.#around.environment, timeoutMs, signal })
  }

  #execHook(): readonly HookRunner[] {
    const { execHook } = this.#settings
    if (execHook === undefined) return []
    return [
      new HookRunner({
        name: 'exechook',
        backoffMs: execHook.backoffMs,
        run: (hash, path, signal) => this.#run(execHook, hash, path, signal),
        onRun: this.#around.onHook,
      }),
    ]
  }

  #webhook(): readonly HookRunner[] {
    const { webhook, repo: repository, ref } = this.#settings
    if (webhook === undefined) return []
    const call = createWebhook({ ...webhook, repository, ref })
    return [
      new HookRunner({
        name: 'webhook',
        backoffMs: webhook.backoffMs,
        run: (hash, _, signal) => call({ hash, publishedAt: this.#shownSince }, signal),
        onRun: this.#around.onHook,
      }),
    ]
  }
}
