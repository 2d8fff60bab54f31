import type { HttpsSidecar } from './sidecar.ts'
import { GAUGES, type Reports } from './worker-messages.ts'

/** A message for each report would cost a good part of what forwarding a request does. */
const BEAT_MS = 100
const MOST_REPORTS = 500

/** Tells the parent what its thread does: reports in batches, numbers by memory that they share. */
export class WorkerReporter {
  readonly #gauges: Uint32Array<SharedArrayBuffer>
  readonly #send: (reports: Reports) => void
  #reports: Reports = none()
  #count = 0
  #open = 0
  #sidecar: Pick<HttpsSidecar, 'inFlight'> = { inFlight: 0 }
  #timer: NodeJS.Timeout | undefined

  constructor(gauges: Uint32Array<SharedArrayBuffer>, send: (reports: Reports) => void) {
    this.#gauges = gauges
    this.#send = send
  }

  watch(sidecar: Pick<HttpsSidecar, 'inFlight'>): void {
    this.#sidecar = sidecar
  }

  add<K extends keyof Reports>(kind: K, report: Reports[K][number]): void {
    const reports: Reports[K][number][] = this.#reports[kind]
    reports.push(report)
    this.#count += 1
    if (this.#count >= MOST_REPORTS) this.#flush()
    this.#wake()
  }

  connections(open: number): void {
    if (open > this.#open) Atomics.add(this.#gauges, GAUGES.accepted, 1)
    this.#open = open
    Atomics.store(this.#gauges, GAUGES.open, open)
    this.#wake()
  }

  /** Sends what is left. */
  end(): void {
    this.#beat()
    clearInterval(this.#timer)
  }

  /** There is no beat while nothing happens, so that a sidecar at rest does not wake its processor. */
  #wake(): void {
    this.#timer ??= setInterval(() => this.#beat(), BEAT_MS)
  }

  #beat(): void {
    const { inFlight } = this.#sidecar
    Atomics.store(this.#gauges, GAUGES.inFlight, inFlight)
    this.#flush()
    if (this.#open > 0 || inFlight > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #flush(): void {
    if (this.#count === 0) return
    this.#send(this.#reports)
    this.#reports = none()
    this.#count = 0
  }
}

const none = (): Reports => ({ requests: [], tunnels: [], pipes: [], handshakes: [] })
