/** Where the load goes. */
export interface Target {
  readonly port: number
  readonly tls: boolean
  /** A folder for files that the load generator needs. */
  readonly directory: string
}

/** What the clients saw. */
export interface LoadResult {
  readonly p50Ms: number
  readonly p99Ms: number
  /** What went wrong, such as `3 non-2xx`; it makes the figures worth nothing. */
  readonly complaints: readonly string[]
  /** How many requests there were, where the load knows. */
  readonly requests?: number
}

/** A load generator with its workload. */
export interface Load {
  /** From its start until all connections are open, milliseconds: what is counted begins then. */
  readonly settleMs: number
  /** Whether it needs a run before the one that counts, because it times its requests from its very start. */
  readonly needsWarmUp: boolean
  /** Loads for that long, whole seconds, from when it has settled. */
  run(target: Target, seconds: number): Promise<LoadResult>
}

export const urlOf = ({ port, tls }: Target, path: string): string =>
  `${tls ? 'https' : 'http'}://127.0.0.1:${port}${path}`

/** `3 non-2xx` when there were 3, nothing when there were none. */
export const complaint = (count: number, what: string): string[] => (count > 0 ? [`${count} ${what}`] : [])
