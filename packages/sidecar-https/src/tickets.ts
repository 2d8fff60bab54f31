import { randomBytes } from 'node:crypto'

/** Of the keys of session tickets: 16 of name, 16 of HMAC, 16 of AES. */
export const TICKET_KEY_BYTES = 48

/** How long keys that are made here are used, unless somebody says otherwise. */
export const TICKET_ROTATION_MS = 43_200_000

/** Who is asked for new keys from time to time, so that what one key has protected does not stay readable for ever. */
export class TicketKeys {
  #current: Buffer
  readonly #apply: (keys: Buffer) => void
  #fixed: boolean
  readonly #timer: NodeJS.Timeout | undefined

  /**
   * @param given keys that several servers share, so that a session of one is known to the others
   * @param rotationMs how long keys that are made here are used
   */
  constructor(given: Buffer | undefined, rotationMs: number, apply: (keys: Buffer) => void) {
    this.#apply = apply
    this.#fixed = given !== undefined
    this.#current = given ?? randomBytes(TICKET_KEY_BYTES)
    this.#timer = setInterval(() => {
      if (!this.#fixed) this.forget()
    }, rotationMs).unref()
  }

  get current(): Buffer {
    return this.#current
  }

  /** Uses other keys from now on; tickets of the old ones cost a full handshake. Throws when they are no keys. */
  use(keys: Buffer): void {
    if (keys.length !== TICKET_KEY_BYTES) {
      throw new Error(
        `keys of session tickets have ${TICKET_KEY_BYTES} bytes and these have ${keys.length}: ` +
          `make them with openssl rand ${TICKET_KEY_BYTES}`,
      )
    }
    this.#fixed = true
    this.#set(keys)
  }

  /** No session from before is resumed any more. Keys that are shared are kept: their owner has to change them. */
  forget(): void {
    if (!this.#fixed) this.#set(randomBytes(TICKET_KEY_BYTES))
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #set(keys: Buffer): void {
    this.#current = keys
    this.#apply(keys)
  }
}
