import type { Duplex } from 'node:stream'

/** Resolves when nothing is left of sockets that take themselves out of their collection as they close. */
export async function allClosed(sockets: Pick<ReadonlyMap<Duplex, unknown>, 'keys'>): Promise<void> {
  for (;;) {
    const { value, done } = sockets.keys().next()
    if (done) return
    await new Promise<void>((resolve) => value.once('close', () => resolve()))
  }
}
