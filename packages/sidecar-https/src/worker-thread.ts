import { Worker } from 'node:worker_threads'
import type { ListenAddress } from '@outrider/listen'
import type { SidecarSettings } from './settings.ts'
import {
  type FromWorker,
  GAUGES,
  packed,
  type Reports,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.ts'

/** As a source, as compiled and as bundled it is beside this file, or beside the program that this file is in. */
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

/** Cutting off takes a moment; a thread that has not ended by then is stuck. */
const CLOSE_MS = 1_000

/** One thread, seen from its parent. */
export class WorkerThread {
  /** Where it listens. Stays pending when it has failed before. */
  readonly listening: Promise<ListenAddress>
  readonly gauges: WorkerStart['gauges']
  readonly #worker: Worker
  readonly #gone: Promise<void>
  #stuck: NodeJS.Timeout | undefined

  /** @param onFailure called when it ends, or never begins to listen, without having been asked */
  constructor(
    name: string,
    settings: SidecarSettings,
    gauges: WorkerStart['gauges'],
    onReports: (reports: Reports) => void,
    onFailure: (error: Error) => void,
  ) {
    this.gauges = gauges
    const start: WorkerStart = { settings: packed(settings), gauges }
    const worker = new Worker(PROGRAM, { name, workerData: start })
    const listening = Promise.withResolvers<ListenAddress>()
    const gone = Promise.withResolvers<void>()
    let ended = false
    let failure: Error | undefined
    worker.on('message', (message: FromWorker) => {
      if (message === 'ended') {
        ended = true
        this.#mustEnd()
      } else if ('listening' in message) listening.resolve(message.listening)
      else onReports(message.reports)
    })
    worker.on('error', (error) => {
      failure = error instanceof Error ? error : new Error(String(error))
    })
    worker.on('exit', (code) => {
      clearTimeout(this.#stuck)
      // Of connections that are gone with it.
      Atomics.store(gauges, GAUGES.open, 0)
      Atomics.store(gauges, GAUGES.inFlight, 0)
      gone.resolve()
      if (!ended) onFailure(failure ?? new Error(`the thread ${name} has ended with exit code ${code}`))
    })
    this.#worker = worker
    this.listening = listening.promise
    this.#gone = gone.promise
  }

  tell(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  /** Resolves when all connections are gone, and the thread with them. */
  drain(): Promise<void> {
    this.tell('drain')
    return this.#gone
  }

  /** Cuts everything off. */
  close(): Promise<void> {
    this.tell('close')
    this.#mustEnd()
    return this.#gone
  }

  #mustEnd(): void {
    this.#stuck ??= setTimeout(() => void this.#worker.terminate(), CLOSE_MS).unref()
  }
}
