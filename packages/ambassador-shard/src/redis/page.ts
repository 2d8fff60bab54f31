/** Memory that output is gathered in, lent to a socket until it is written. */
export const PAGE_BYTES = 16 * 1024

/** Unused ones that are kept. */
const KEPT_MOST = 256

const unused: Page[] = []

export class Page {
  readonly memory: Buffer = Buffer.allocUnsafeSlow(PAGE_BYTES)

  release(): void {
    if (unused.length < KEPT_MOST) unused.push(this)
  }

  static take(): Page {
    return unused.pop() ?? new Page()
  }
}
