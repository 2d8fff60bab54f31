import { createServer } from 'node:net'
import type { UpstreamTls } from '@outrider/http-forward'
import { type ListenAddress, listen } from '@outrider/listen'
import type { CertificateInfo } from './certificate.ts'
import { LIMITS, type Limits } from './limits.ts'
import { optionsOf, type SidecarReports, type SidecarSettings } from './settings.ts'
import { type HttpsSidecar, TlsSidecar } from './sidecar.ts'
import { TICKET_ROTATION_MS, TicketKeys } from './tickets.ts'
import type { Certificates, ClientAuthorities } from './tls-server.ts'
import { type Change, errorOf, GAUGES, GAUGES_BYTES, packed, type Reports } from './worker-messages.ts'
import { WorkerThread } from './worker-thread.ts'

export interface HttpsWorkersOptions extends SidecarSettings, SidecarReports {
  /**
   * Called once when a thread has failed, after which the others are cut off. Without it the error is thrown where
   * nobody catches it, as an error of the event loop is that serves alone.
   */
  readonly onFailure?: (error: Error) => void
}

export interface HttpsWorkers extends HttpsSidecar {
  /** Connections that each thread has accepted since its start. */
  readonly accepted: readonly number[]
}

/**
 * One sidecar whose connections the system spreads over so many threads; TCP alone. Limits of connections are divided
 * among them, rounded up. Reports come up to 100 ms late, and so old is `inFlight`. Rejects as `startHttpsSidecar`.
 */
export async function startHttpsWorkers(options: HttpsWorkersOptions, count: number): Promise<HttpsWorkers> {
  const workers = new Workers(options, count)
  try {
    await workers.start()
  } catch (error) {
    await workers[Symbol.asyncDispose]()
    throw error
  }
  return workers
}

class Workers implements HttpsWorkers {
  address: ListenAddress
  readonly #options: HttpsWorkersOptions
  readonly #count: number
  readonly #gauges: SharedArrayBuffer
  /** Refuses, here and at once, what the threads would refuse. It never listens. */
  readonly #model: TlsSidecar
  /** One for all, since a client that comes again may come to another thread. */
  readonly #tickets: TicketKeys
  readonly #threads: WorkerThread[] = []
  readonly #startFailed = Promise.withResolvers<never>()
  #shown: readonly CertificateInfo[] = []
  #state: 'starting' | 'serving' | 'ended' = 'starting'

  constructor(options: HttpsWorkersOptions, count: number) {
    this.address = options.listen
    this.#options = options
    this.#count = count
    this.#gauges = new SharedArrayBuffer(count * GAUGES_BYTES)
    this.#model = new TlsSidecar({
      ...optionsOf(settingsOf(options)),
      onCertificates: (infos) => {
        this.#shown = infos
      },
    })
    const { ticketKeys: given, ticketRotationMs = TICKET_ROTATION_MS } = options
    this.#tickets = new TicketKeys(given, ticketRotationMs, (ticketKeys) => this.#use({ ticketKeys }))
    // It is awaited only while the threads start.
    this.#startFailed.promise.catch(() => undefined)
  }

  async start(): Promise<void> {
    const { listen: wanted } = this.#options
    if ('path' in wanted) {
      throw new Error(`several threads cannot share the socket ${wanted.path}: start one, or listen on TCP`)
    }
    await refuseTaken(wanted)
    const first = this.#launch(wanted)
    this.address = await this.#started(first.listening)
    const others = Array.from({ length: this.#count - 1 }, () => this.#launch(this.address))
    await this.#started(Promise.all(others.map(({ listening }) => listening)))
    this.#state = 'serving'
    this.#options.onCertificates?.(this.#model.useCertificates({}))
  }

  get openConnections(): number {
    return this.#sum('open')
  }

  get inFlight(): number {
    return this.#sum('inFlight')
  }

  get accepted(): readonly number[] {
    return this.#threads.map(({ gauges }) => Atomics.load(gauges, GAUGES.accepted))
  }

  useCertificates(certificates: Certificates): readonly CertificateInfo[] {
    const before = this.#shown
    const infos = this.#model.useCertificates(certificates)
    this.#use({ certificates })
    if (this.#shown !== before) {
      this.#tickets.forget()
      this.#options.onCertificates?.(infos)
    }
    return infos
  }

  useAuthorities(authorities: ClientAuthorities): void {
    this.#model.useAuthorities(authorities)
    this.#use({ authorities })
    // Behind it: a session that begins in between must be forgotten too.
    this.#tickets.forget()
  }

  useTicketKeys(keys: Buffer): void {
    this.#tickets.use(keys)
  }

  useTargetTls(targetTls: UpstreamTls): void {
    this.#model.useTargetTls(targetTls)
    this.#use({ targetTls })
  }

  async drain(): Promise<void> {
    this.#tickets.stop()
    await Promise.all(this.#threads.map((thread) => thread.drain()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'ended'
    this.#tickets.stop()
    await Promise.all([...this.#threads.map((thread) => thread.close()), this.#model[Symbol.asyncDispose]()])
  }

  #launch(address: ListenAddress): WorkerThread {
    const settings: SidecarSettings = {
      ...settingsOf(this.#options),
      listen: { ...address, reusePort: true },
      limits: share(this.#options.limits, this.#count),
      ticketKeys: this.#tickets.current,
    }
    const index = this.#threads.length
    const gauges = new Uint32Array(this.#gauges, index * GAUGES_BYTES, GAUGES_BYTES / 4)
    const thread = new WorkerThread(
      `https-${index + 1}`,
      settings,
      gauges,
      (reports) => this.#report(reports),
      (error) => this.#fail(error),
    )
    this.#threads.push(thread)
    return thread
  }

  #started<T>(listening: Promise<T>): Promise<T> {
    return Promise.race([listening, this.#startFailed.promise])
  }

  #use(change: Change): void {
    const message = { use: packed(change) }
    for (const thread of this.#threads) thread.tell(message)
  }

  #sum(gauge: keyof typeof GAUGES): number {
    return this.#threads.reduce((sum, { gauges }) => sum + Atomics.load(gauges, GAUGES[gauge]), 0)
  }

  #report({ requests, tunnels, pipes, handshakes }: Reports): void {
    const { onRequest, onTunnel, onPipe, onHandshake } = this.#options
    if (onRequest) for (const report of requests) onRequest(revived(report))
    if (onTunnel) for (const report of tunnels) onTunnel(report)
    if (onPipe) for (const report of pipes) onPipe(revived(report))
    if (onHandshake) for (const report of handshakes) onHandshake(revived(report))
  }

  #fail(error: Error): void {
    const was = this.#state
    if (was === 'ended') return
    void this[Symbol.asyncDispose]()
    if (was === 'starting') this.#startFailed.reject(error)
    else if (this.#options.onFailure === undefined) throw error
    else this.#options.onFailure(error)
  }
}

/** Without the callbacks, which no thread can be given. */
function settingsOf(options: HttpsWorkersOptions): SidecarSettings {
  const { onRequest, onTunnel, onPipe, onHandshake, onCertificates, onFailure, ...settings } = options
  return { ...settings, target: String(settings.target) }
}

/** The system has each connection go to any thread, so that none can know how many there are in all. */
function share(limits: Partial<Limits> | undefined, count: number): Partial<Limits> {
  const { connections, connectionsPerAddress, upstreamConnections } = { ...LIMITS, ...limits }
  return {
    ...limits,
    connections: Math.ceil(connections / count),
    connectionsPerAddress: Math.ceil(connectionsPerAddress / count),
    upstreamConnections: Math.ceil(upstreamConnections / count),
  }
}

/** Threads of a second sidecar could listen beside ours, and would get half of its connections unnoticed. */
async function refuseTaken(address: Extract<ListenAddress, { port: number }>): Promise<void> {
  if (address.port === 0) return
  const probe = createServer((socket) => socket.destroy())
  await listen(probe, address)
  await new Promise<void>((resolve) => probe.close(() => resolve()))
}

const revived = <T extends { readonly error: Parameters<typeof errorOf>[0] | undefined }>(report: T) => ({
  ...report,
  error: report.error && errorOf(report.error),
})
