/** Who waits for replies of a shard. */
export interface ReplySink {
  /** Bytes of its replies, in their order, so many of which end in them. The memory is lent for the call. */
  reply(bytes: Buffer, start: number, end: number, ended: number): void
  /** So many of its replies will not come. @param reason what is said to the client, with its code */
  lost(count: number, reason: string): void
}

/** Throws replies away. */
export const NOBODY: ReplySink = {
  reply: () => undefined,
  lost: () => undefined,
}
