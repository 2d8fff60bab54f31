import { StringDecoder } from 'node:string_decoder'

/** One command in so many is looked at, by chance, on average. */
export const SAMPLE_ONE_IN = 32
/** Keys that are counted at the same time. */
const COUNTED = 64
/** Bytes of a key that are kept; longer ones count by their beginning and their length. */
const KEPT_BYTES = 96
const WINDOW_MS = 10_000

interface Counter {
  readonly key: string
  count: number
  /** What of it may be that of others. */
  readonly error: number
}

/**
 * The keys that are asked for most, by the Space-Saving sketch (Metwally, Agrawal and El Abbadi, 2005) over a sample:
 * as many counters as keys that are told apart; one that is new takes over the least, with its count. Told is what a key
 * has at least, so that among keys that are all alike none is called hot. Counts are of the last 10 to 20 seconds.
 */
export class HotKeys {
  readonly #counters = new Map<string, Counter>()
  #before: ReadonlyMap<string, number> = new Map()
  #begun = performance.now()
  #spanMs = 0

  /** Counts a key of the sample. */
  take(bytes: Buffer, start: number, end: number): void {
    const key =
      end - start <= KEPT_BYTES
        ? bytes.toString('latin1', start, end)
        : `${bytes.toString('latin1', start, start + KEPT_BYTES)}\0${end - start}`
    const counter = this.#counters.get(key)
    if (counter !== undefined) {
      counter.count += 1
      return
    }
    let error = 0
    if (this.#counters.size >= COUNTED) {
      let least: Counter | undefined
      for (const one of this.#counters.values())
        if (least === undefined || one.count < least.count) least = one
      if (least !== undefined) {
        this.#counters.delete(least.key)
        error = least.count
      }
    }
    this.#counters.set(key, { key, count: error + 1, error })
  }

  tick(now: number): void {
    if (now - this.#begun < WINDOW_MS) return
    this.#spanMs = now - this.#begun
    this.#begun = now
    this.#before = new Map([...this.#counters.values()].map(({ key, count, error }) => [key, count - error]))
    this.#counters.clear()
  }

  /** The hottest first, for people. */
  top(most: number, now: number): { readonly key: string; readonly perSecond: number }[] {
    return this.hottest(most, now).map(({ bytes, perSecond }) => ({ key: shown(bytes), perSecond }))
  }

  /** The hottest first, with how often they were asked for in a second at least; their bytes as latin1. */
  hottest(most: number, now: number): { readonly bytes: string; readonly perSecond: number }[] {
    const seconds = (this.#spanMs + now - this.#begun) / 1000
    const counts = new Map(this.#before)
    for (const { key, count, error } of this.#counters.values())
      counts.set(key, (counts.get(key) ?? 0) + count - error)
    return [...counts]
      .sort(([, a], [, b]) => b - a)
      .slice(0, most)
      .filter(([, count]) => count > 1)
      .map(([bytes, count]) => ({ bytes, perSecond: (count * SAMPLE_ONE_IN) / Math.max(1, seconds) }))
  }
}

/** As text where it is UTF-8; other bytes as `\x9f`, and so what would not stand on one line. */
function shown(key: string): string {
  const isLong = key.length > KEPT_BYTES
  const bytes = Buffer.from(key.slice(0, KEPT_BYTES), 'latin1')
  // One that was cut may end within a letter, which is left out.
  const text = isLong ? new StringDecoder().write(bytes) : bytes.toString()
  const isText = Buffer.from(text).equals(bytes.subarray(0, Buffer.byteLength(text)))
  const readable = isText ? text : bytes.toString('latin1')
  const escaped = readable.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be shown
    isText ? /[\0-\x1f\x7f-\x9f\\\u2028\u2029]/g : /[^\x20-\x5b\x5d-\x7e]/g,
    (character) => {
      const code = character.charCodeAt(0).toString(16)
      return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`
    },
  )
  return isLong ? `${escaped}...` : escaped
}

/** Chooses which commands are looked at: by chance, since clients may have a rhythm of their own. */
export class Sampler {
  /** Commands until the next one. */
  left = SAMPLE_ONE_IN

  next(): void {
    this.left = 1 + Math.floor(Math.random() * (2 * SAMPLE_ONE_IN - 1))
  }
}
