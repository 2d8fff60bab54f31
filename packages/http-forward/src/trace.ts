import { randomFillSync } from 'node:crypto'

/** A valid traceparent of version 00 (W3C Trace Context 3.2), neither of whose ids is all zeros. */
export const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

// Asking the system for each request would cost more than the rest of the line.
const pool = Buffer.alloc(4096)
let used = pool.length

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  return pool.toString('hex', used - bytes, used)
}

/** Begins a trace; not sampled, because nobody has asked for that. */
export function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-00`
}

export function newRequestId(): string {
  return randomHex(16)
}
