import type { Command } from '../support/processes.ts'

/** What every proxy is told. */
export interface Common {
  /** Where it may write files: empty, its own, and gone afterwards. */
  readonly directory: string
  /** On loopback, free. */
  readonly port: number
  /** Arguments for Node, where the proxy runs on it: for profiles. */
  readonly nodeArgs: readonly string[]
}

/** What a proxy of HTTP is asked to do. */
export interface Setting extends Common {
  /** The application's port on loopback, plain HTTP. */
  readonly upstream: number
  /** PEM files; undefined for plain HTTP. `pair` holds both. */
  readonly tls: { readonly cert: string; readonly key: string; readonly pair: string } | undefined
  /** How many requests the clients will have open at a time. */
  readonly concurrency: number
  /** Connections that must fit and may be idle for an hour; undefined leaves both as they are for the other benches. */
  readonly connections?: number
}

/** What is known of a proxy before it runs. */
export interface Peer {
  readonly name: string
  /** What it is, for the reader of the table. */
  readonly remark: string
  /** The Debian package that has it, and its program. */
  readonly debian?: { readonly name: string; readonly program: string }
  /** The npm package that has it. */
  readonly npm?: string
}

/** A proxy that is measured. */
export interface Subject<S extends Common = Setting> extends Peer {
  /** Writes its configuration and gives the command. It must stay in the foreground. */
  prepare(setting: S): Command | Promise<Command>
}
