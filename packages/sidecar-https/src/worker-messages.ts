import { deserialize, serialize } from 'node:v8'
import type { RequestReport, TunnelReport, UpstreamTls } from '@outrider/http-forward'
import type { ListenAddress } from '@outrider/listen'
import type { HandshakeReport } from './handshake.ts'
import type { PipeReport } from './pipe.ts'
import type { SidecarSettings } from './settings.ts'
import type { Certificates, ClientAuthorities } from './tls-server.ts'

/** What a thread is started with. */
export interface WorkerStart {
  /** Of `SidecarSettings`. */
  readonly settings: Packed
  /** Its own part of the numbers of all threads, in the order of `GAUGES`. */
  readonly gauges: Uint32Array<SharedArrayBuffer>
}

export const GAUGES = { open: 0, inFlight: 1, accepted: 2 } as const
export const GAUGES_BYTES = Object.keys(GAUGES).length * Uint32Array.BYTES_PER_ELEMENT

/** `drain` and `close` are the last; the thread answers them with `ended`. */
export type ToWorker = { readonly use: Packed } | 'drain' | 'close'

export type FromWorker =
  | { readonly listening: ListenAddress }
  | { readonly reports: Reports }
  /** All that there is to report has been. */
  | 'ended'

/** Other material for the connections from now on. */
export interface Change {
  readonly certificates?: Certificates
  readonly authorities?: ClientAuthorities
  readonly targetTls?: UpstreamTls
  readonly ticketKeys?: Buffer
}

/** What happened in a thread, each kind in its order. */
export interface Reports {
  readonly requests: Portable<RequestReport>[]
  readonly tunnels: TunnelReport[]
  readonly pipes: Portable<PipeReport>[]
  readonly handshakes: Portable<HandshakeReport>[]
}

type Portable<T> = Omit<T, 'error'> & { readonly error: PlainError | undefined }

/** An Error would arrive without its code, and not at all with something in it that cannot be copied. */
interface PlainError {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
}

export function portable<T extends { readonly error: Error | undefined }>(report: T): Portable<T> {
  const { error } = report
  if (error === undefined) return { ...report, error }
  const code = 'code' in error && error.code !== undefined ? String(error.code) : undefined
  return { ...report, error: { name: error.name, message: error.message, code } }
}

export function errorOf({ name, message, code }: PlainError): Error {
  const error = Object.assign(new Error(message), { name, ...(code !== undefined && { code }) })
  // It would be of this line.
  error.stack = `${name}: ${message}`
  return error
}

/** A message of its own would make a Buffer into an array of bytes, whose text is numbers. */
export interface Packed {
  readonly bytes: Uint8Array
}

export const packed = (value: SidecarSettings | Change): Packed => ({ bytes: serialize(value) })

export function unpackedSettings({ bytes }: Packed): SidecarSettings {
  return deserialize(bytes)
}

export function unpackedChange({ bytes }: Packed): Change {
  return deserialize(bytes)
}
