/** Where a value stands: keys and indexes from the root of its document. */
export type Path = readonly (string | number)[]

type Report = (path: Path, text: string) => void

const shownLength = 80

/** Whether somebody may have meant the one by the other: a part of it, or letters exchanged, or other signs between them. */
function isLike(name: string, key: string): boolean {
  const letters = (text: string) => [...text.toLowerCase().replace(/[^a-z]/g, '')].sort().join('')
  return letters(name) === letters(key) || (key.length > 2 && name.includes(key))
}

/** A map of a document, of which all that is wrong is reported; scalars may all be text, as YAML's failsafe schema has it. */
export class TableEntry {
  readonly isMap: boolean
  readonly #values: ReadonlyMap<string, unknown>
  readonly #path: Path
  readonly #report: Report

  constructor(value: unknown, path: Path, known: readonly string[], report: Report) {
    const entries =
      typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : undefined
    this.isMap = entries !== undefined
    this.#values = new Map(entries)
    this.#path = path
    this.#report = report
    if (!this.isMap) report(path, `this is ${show(value)}: must be a map with ${known.join(', ')}`)
    for (const key of this.#values.keys()) {
      if (known.includes(key)) continue
      const like = known.filter((name) => isLike(name, key))
      const hint =
        like.length > 0 ? `did you mean ${like.join(' or ')}?` : 'the documentation of the table has the keys'
      this.fault(key, `is unknown: ${hint}`)
    }
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  /** @param text what follows the key in a sentence */
  fault(key: string, text: string): void {
    this.#report([...this.#path, key], `${show(key).slice(1, -1)} ${text}`)
  }

  /** What is wrong with all of it, not with one key. */
  faultOfAll(text: string): void {
    this.#report(this.#path, text)
  }

  /**
   * What a parser makes of a scalar; undefined where the key is missing, or its value is refused, which is reported.
   * @param parse throws an Error that begins with "must"
   * @param shown `secret` where the value may hold one
   */
  read<T>(key: string, parse: (text: string) => T, shown: 'shown' | 'secret' = 'shown'): T | undefined {
    if (!this.has(key)) return undefined
    const value = this.#values.get(key)
    try {
      return parse(scalar(value))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.fault(key, shown === 'secret' ? why : `is ${show(value)}: ${why}`)
      return undefined
    }
  }

  /** The same of a key that has to be there. */
  require<T>(key: string, parse: (text: string) => T, shown: 'shown' | 'secret' = 'shown'): T | undefined {
    if (!this.has(key)) this.fault(key, 'is missing: every one has it')
    return this.read(key, parse, shown)
  }

  /** A list that is not empty. */
  list(key: string, what: string): readonly unknown[] {
    const value = this.#values.get(key)
    if (Array.isArray(value) && value.length > 0) return value
    const found = Array.isArray(value) ? 'an empty list' : show(value)
    if (this.isMap)
      this.fault(key, this.has(key) ? `is ${found}: must be a list of ${what}` : `is missing: list ${what}`)
    return []
  }
}

/** A text of one line. */
export function line(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) throw new Error('must be one line without control characters')
  return text
}

function scalar(value: unknown): string {
  const isScalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  if (!isScalar || value === '') throw new Error('must be a text')
  return String(value)
}

/** A value for people, on one short line; never looks into what it holds. */
function show(value: unknown): string {
  if (typeof value === 'string') {
    const text = value.length > shownLength ? `${value.slice(0, shownLength)}...` : value
    return JSON.stringify(text).replaceAll(/\p{Cc}/gu, '?')
  }
  if (value === undefined || value === null || value === '') return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'a map' : String(value)
}
