import { scarce } from './outbox.ts'
import type { Pool } from './pool.ts'
import type { Upstream } from './upstream.ts'
import type { ResponseSink, UpstreamConnection } from './upstream-connection.ts'

export interface ShadowReport {
  readonly upstream: string
  /** Undefined when no response has come, or it broke off. */
  readonly status: number | undefined
  readonly durationMs: number
  readonly error: Error | undefined
}

/** What waits for a slow shadow at most; it is given up beyond that, since the request itself waits for nobody. */
const QUEUE_BYTES = 1024 * 1024
/** How much of a response is read to keep the connection. Some have no end. */
const RESPONSE_BYTES = 1024 * 1024

/** A copy of a request, whose response is thrown away. */
export class Shadow implements ResponseSink {
  readonly bodiless: boolean
  readonly awaited = false
  readonly #pool: Pool
  readonly #upstream: Upstream
  readonly #onEnd: (report: ShadowReport) => void
  readonly #started = performance.now()
  #connection: UpstreamConnection | undefined
  readonly #last: boolean
  #queued = 0
  #responseBytes = 0
  #status: number | undefined
  #requestComplete: boolean

  /**
   * @param last whether nothing may follow on its connection
   * @param hasBody whether the request goes on after its head
   */
  constructor(
    pool: Pool,
    upstream: Upstream,
    head: string,
    bodiless: boolean,
    last: boolean,
    hasBody: boolean,
    onEnd: (report: ShadowReport) => void,
  ) {
    this.bodiless = bodiless
    this.#last = last
    this.#pool = pool
    this.#upstream = upstream
    this.#requestComplete = !hasBody
    this.#onEnd = onEnd
    this.#connection = pool.take(upstream, this)
    if (this.#connection === undefined) {
      this.#report(new Error('there are as many connections to applications as may be'))
    } else this.#connection.text(head)
  }

  get owesBody(): boolean {
    return !this.#requestComplete
  }

  requestText(text: string): void {
    this.#connection?.text(text)
  }

  requestData(bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#queued = connection.writable ? 0 : this.#queued + end - start
    const most = scarce() ? 0 : QUEUE_BYTES
    if (this.#queued > most) this.lost(new Error('the shadow does not take the request'))
    else connection.bytes(bytes, start, end)
  }

  flushRequest(): void {
    this.#connection?.flush()
  }

  /** @param complete whether all of the request was told; an incomplete one is given up */
  requestEnded(complete: boolean): void {
    if (this.#requestComplete) return
    this.#requestComplete = complete
    if (!complete) this.lost(new Error('the request was not completed'))
  }

  interim(): void {}

  switched(): void {
    this.lost(new Error('protocols were switched unasked'))
  }

  response(head: { readonly status: number }): void {
    this.#status = head.status
  }

  data(_: Buffer, start: number, end: number): void {
    this.#responseBytes += end - start
    if (this.#responseBytes <= RESPONSE_BYTES || this.#connection === undefined) return
    this.#connection.destroy()
    this.#connection = undefined
    this.#report(undefined)
  }

  end(): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#connection = undefined
    if (this.#requestComplete && !this.#last) this.#pool.giveBack(connection)
    else connection.destroy()
    this.#report(undefined)
  }

  flush(): void {}
  drained(): void {}

  lost(error: Error): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#connection = undefined
    connection.destroy()
    this.#status = undefined
    this.#report(error)
  }

  #report(error: Error | undefined): void {
    const durationMs = performance.now() - this.#started
    this.#onEnd({ upstream: this.#upstream.name, status: this.#status, durationMs, error })
  }
}
