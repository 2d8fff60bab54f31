/** What is wrong in a document, and where: keys and indexes from its root. */
export interface Fault {
  readonly path: readonly (string | number)[]
  /** Names the key, the value and the remedy. */
  readonly text: string
}

export type Entries = Readonly<Record<string, unknown>>

// Names and addresses end up in errors of RESP, in which a line break would forge a reply, and in log lines.
const CONTROL = /\p{Cc}/u
const CONTROLS = /\p{Cc}/gu
const LONGEST = 1024
const SHOWN = 80

export function isMap(value: unknown): value is Entries {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value for people, on one short line; never looks into what it holds. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}...` : value)
    // JSON leaves DEL and those of Latin-1 as they are.
    return text.replaceAll(CONTROLS, '?')
  }
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return typeof value === 'object' ? 'a map' : `a ${typeof value}`
}

/** Why a text cannot be a line, name or address; undefined where it can. */
export function textFault(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'must be text: put it in quotes'
  if (value === '') return 'must not be empty'
  if (value.length > LONGEST) return `has ${value.length} characters: must have at most ${LONGEST}`
  return CONTROL.test(value) ? 'must be one line without control characters' : undefined
}

/** A map of the document whose values are read one by one; what is wrong is added to the faults of the whole. */
export class Section {
  readonly path: readonly (string | number)[]
  readonly #entries: Entries
  readonly #faults: Fault[]

  constructor(
    entries: Entries,
    path: readonly (string | number)[],
    faults: Fault[],
    known: readonly string[],
  ) {
    this.path = path
    this.#entries = entries
    this.#faults = faults
    for (const key of Object.keys(entries)) {
      if (!known.includes(key))
        this.faultAt([key], `key ${show(key)} is unknown: the keys here are ${known.join(', ')}`)
    }
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#entries, key)
  }

  get(key: string): unknown {
    return this.has(key) ? this.#entries[key] : undefined
  }

  /** @param key one of those that are known */
  fault(key: string, text: string): void {
    this.faultAt([key], `${key} ${text}`)
  }

  faultAt(path: readonly (string | number)[], text: string): void {
    this.#faults.push({ path: [...this.path, ...path], text })
  }

  /** A text of one line. */
  text(key: string): string | undefined {
    const value = this.get(key)
    if (!this.has(key)) return undefined
    const fault = textFault(value)
    if (fault !== undefined) this.fault(key, `${show(value)} ${fault}`)
    return fault === undefined && typeof value === 'string' ? value : undefined
  }

  /** One of some names. */
  choice<T extends string>(key: string, choices: readonly string[], is: (name: string) => name is T) {
    const value = this.get(key)
    if (!this.has(key)) return undefined
    if (typeof value === 'string' && choices.includes(value) && is(value)) return value
    this.fault(key, `${show(value)} is unknown: must be one of ${choices.join(', ')}`)
    return undefined
  }

  /** A whole number, also as digits: YAML's failsafe schema makes text of all. */
  whole(key: string, least: number, otherwise: number): number {
    const value = this.get(key)
    if (!this.has(key)) return otherwise
    const number = numberOf(value)
    if (Number.isInteger(number) && number >= least && number <= MOST) return number
    this.fault(key, `${show(value)} must be a whole number from ${least} to ${MOST}, or left out`)
    return otherwise
  }

  /** `true` or `false`, also as text; without it false. */
  flag(key: string): boolean {
    const value = this.get(key)
    const isTrue = value === true || value === 'true'
    if (this.has(key) && !isTrue && value !== false && value !== 'false') {
      this.fault(key, `${show(value)} must be true or false`)
    }
    return isTrue
  }

  /** A list that is not empty. */
  list(key: string, what: string): readonly unknown[] {
    const value = this.get(key)
    if (Array.isArray(value) && value.length > 0) return value
    const found = Array.isArray(value) ? 'an empty list' : show(value)
    this.fault(key, this.has(key) ? `is ${found}: must be a list of ${what}` : `is missing: list ${what}`)
    return []
  }
}

/** Milliseconds beyond this would make Node's timers fire at once. */
const MOST = 2 ** 31 - 1

/** Decimal digits or a number; NaN for all else. */
export function numberOf(value: unknown): number {
  if (typeof value === 'number') return value
  return typeof value === 'string' && /^\d{1,16}(\.\d{1,16})?$/.test(value) ? Number(value) : Number.NaN
}
