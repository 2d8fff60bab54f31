/**
 * The part of a key that is hashed, between two characters such as `{}`: behind the first opening one and before the
 * first closing one after it, where at least one byte lies between; otherwise the whole key. So `{user1}.name` and
 * `{user1}.mail` stay together. One object serves all lookups: `find` sets `start` and `end`.
 */
export class HashTag {
  readonly characters: string
  start = 0
  end = 0
  readonly #open: number
  readonly #close: number

  /** @param characters two of ASCII, the opening and the closing one; they may be the same */
  constructor(characters: string) {
    if (!/^[\0-\x7f]{2}$/.test(characters)) {
      throw new Error(`hash tag ${JSON.stringify(characters)}: must be two characters of ASCII, such as {}`)
    }
    this.characters = characters
    this.#open = characters.charCodeAt(0)
    this.#close = characters.charCodeAt(1)
  }

  find(bytes: Uint8Array, start: number, end: number): void {
    this.start = start
    this.end = end
    let open = start
    while (open < end && bytes[open] !== this.#open) open += 1
    let close = open + 1
    while (close < end && bytes[close] !== this.#close) close += 1
    if (close >= end || close === open + 1) return
    this.start = open + 1
    this.end = close
  }
}
