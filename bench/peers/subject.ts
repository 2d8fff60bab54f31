import type { Command } from '../support/processes.ts'

/** What a proxy is asked to do. */
export interface Setting {
  /** Where it may write files: empty, its own, and gone afterwards. */
  readonly directory: string
  /** On loopback, free. */
  readonly port: number
  /** The application's port on loopback, plain HTTP. */
  readonly upstream: number
  /** PEM files; undefined for plain HTTP. `pair` holds both. */
  readonly tls: { readonly cert: string; readonly key: string; readonly pair: string } | undefined
  /** How many requests the clients will have open at a time. */
  readonly concurrency: number
  /** Connections that must fit and may be idle for an hour; undefined leaves both as they are for the other benches. */
  readonly connections?: number
  /** Arguments for Node, where the proxy runs on it: for profiles. */
  readonly nodeArgs: readonly string[]
}

/** A proxy that is measured. */
export interface Subject {
  readonly name: string
  /** What it is, for the reader of the table. */
  readonly remark: string
  /** The Debian package that has it, and its program. */
  readonly debian?: { readonly name: string; readonly program: string }
  /** The npm package that has it. */
  readonly npm?: string
  /** Writes its configuration and gives the command. It must stay in the foreground. */
  prepare(setting: Setting): Command | Promise<Command>
}
