/** Most that is gathered before it is written. */
export const PAGE_BYTES = 16 * 1024
/** Nearly all that one turn writes to a client fits here; large pages for all of them would not fit into a cache. */
export const SMALL_BYTES = 1024

/** Unused ones that are kept: 4 MiB of large ones, 2 MiB of small ones. */
const KEPT_LARGE = 256
const KEPT_SMALL = 2048

const large: Page[] = []
const small: Page[] = []

/** Memory that output is gathered in, lent to a socket until it is written. */
export class Page {
  readonly memory: Buffer

  constructor(bytes: number) {
    this.memory = Buffer.allocUnsafeSlow(bytes)
  }

  release(): void {
    const isSmall = this.memory.length === SMALL_BYTES
    const unused = isSmall ? small : large
    if (unused.length < (isSmall ? KEPT_SMALL : KEPT_LARGE)) unused.push(this)
  }

  /** One that holds so many bytes, `PAGE_BYTES` at most. */
  static take(bytes: number): Page {
    if (bytes <= SMALL_BYTES) return small.pop() ?? new Page(SMALL_BYTES)
    return large.pop() ?? new Page(PAGE_BYTES)
  }
}
