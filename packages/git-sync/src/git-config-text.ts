/** A key of git's configuration, `section.name` or `section.subsection.name`, and its value. */
export type GitSetting = readonly [key: string, value: string]

/**
 * Takes `key:value,key2:value2` apart. Keys and values may stand in double quotes, a key with a colon in it must.
 * `\n \t \" \, \\` are known in all but bare keys. A comma may follow the last value.
 * @throws Error that begins with "must be", names the position, counted from 1, and never a value
 */
export function parseGitConfigText(text: string): readonly GitSetting[] {
  const settings: GitSetting[] = []
  const reader = new Reader(text)
  while (!reader.ended) {
    const at = reader.at
    const key = reader.take(':', false)
    if (!reader.skip(':')) reader.fail('a key has no colon and value behind it')
    const wrong = keyFault(key)
    if (wrong !== undefined) reader.fail(wrong, at)
    if (reader.ended || reader.next === ',') {
      reader.fail('a value is missing: write key:"" for an empty one')
    }
    const value = reader.take(',', true)
    if (!reader.skip(',') && !reader.ended) {
      reader.fail('something stands behind a quoted value: put a comma between pairs')
    }
    if (value.includes('\0')) reader.fail('a value holds a NUL, which git cannot take', at)
    settings.push([key, value])
  }
  return settings
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['"', '"'],
  [',', ','],
  ['\\', '\\'],
])

class Reader {
  readonly #text: string
  at = 0

  constructor(text: string) {
    this.#text = text
  }

  get ended(): boolean {
    return this.at >= this.#text.length
  }

  get next(): string {
    return this.#text.charAt(this.at)
  }

  skip(character: string): boolean {
    if (this.next !== character) return false
    this.at += 1
    return true
  }

  /** In quotes, or up to `end` or to the end of all. */
  take(end: string, isEscaped: boolean): string {
    const from = this.at
    const isQuoted = this.skip('"')
    let taken = ''
    while (!this.ended && this.next !== (isQuoted ? '"' : end)) {
      taken += this.skip('\\') ? this.#escape(isEscaped || isQuoted) : this.next
      this.at += 1
    }
    if (isQuoted && !this.skip('"')) this.fail('a quote is opened and never closed', from)
    return taken
  }

  #escape(isEscaped: boolean): string {
    // As it is: the one behind it is taken next.
    if (!isEscaped) {
      this.at -= 1
      return '\\'
    }
    return (
      escapes.get(this.next) ??
      this.fail('an escape is unknown: write \\n, \\t, \\", \\, or \\\\', this.at - 1)
    )
  }

  fail(what: string, at = this.at): never {
    throw new Error(
      `must be pairs such as http.proxy:value,"a.b:c.d":"value", and at position ${at + 1} ${what}`,
    )
  }
}

const fixed =
  'which protocols git speaks is fixed, since a repository must not run a program or read files here'

/** What git is given last in any case, so that a value here would be a promise that is not kept. */
const refusals: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/^core\.hookspath$/i, 'hooks of git never run here: use --exechook-command'],
  [/^core\.fsmonitor$/i, 'no program watches the files: leave it out'],
  [/^protocol\.(.*\.)?allow$/is, `${fixed}: leave it out`],
]

function keyFault(key: string): string | undefined {
  if (!/^[a-z0-9][a-z0-9-]*\.([^\n\0]*\.)?[a-z][a-z0-9-]*$/i.test(key)) {
    return 'stands no key of git: it must be section.name or section.subsection.name, without spaces around'
  }
  const refusal = refusals.find(([pattern]) => pattern.test(key))
  return refusal === undefined ? undefined : `stands ${key}, but ${refusal[1]}`
}
