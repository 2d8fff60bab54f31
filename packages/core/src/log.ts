export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>

/** One line an event: a message that never varies, and what varies in fields. */
export type Log = Readonly<Record<LogLevel, (msg: string, fields?: LogFields) => void>>

export interface LogOptions {
  readonly container: string
  readonly level: LogLevel
  readonly format: 'json' | 'text'
  /** Takes out of a text what must never appear. */
  readonly redact: (text: string) => string
  readonly write: (line: string) => void
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
/** Longer texts are cut: a hostile header must not fill the disk of the node. */
const logged: Bounds = { depth: 6, text: 8192 }

export function createLog(options: LogOptions): Log {
  const { redact } = options
  const least = levels.indexOf(options.level)
  const at = (level: LogLevel) => (msg: string, fields?: LogFields) => {
    if (levels.indexOf(level) < least) return
    const time = new Date().toISOString()
    const clean = asRecord(plain(fields ?? {}, redact, logged))
    const head = { time, level, container: options.container, msg: redact(msg) }
    options.write(
      options.format === 'json'
        ? // Twice, so that no field can take the place of the head and yet the head stands first.
          // Terminals take some of what JSON leaves as it is for escapes, too.
          `${oneLine(JSON.stringify({ ...head, ...clean, ...head }))}\n`
        : `${time} ${level.padEnd(5)} ${oneLine(redact(msg))}${textFields(clean)}\n`,
    )
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Replaces every occurrence of every secret, also as JSON and URLs write it. */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = [...new Set(secrets.flatMap(formsOf))].filter((form) => form !== '')
  if (forms.length === 0) return (text) => text
  // The longest first, so that one inside another leaves nothing behind; in one pass, so that no secret is sought in the
  // replacements of others.
  forms.sort((a, b) => b.length - a.length)
  const any = new RegExp(forms.map((form) => form.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g')
  return (text) => text.replace(any, '[redacted]')
}

function formsOf(secret: string): string[] {
  const url = new URL('http://localhost')
  url.password = secret
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    url.password,
    encodeURIComponent(secret.toWellFormed()),
  ]
}

const asRecord = (value: unknown): Record<string, unknown> => value as Record<string, unknown>

export interface Bounds {
  readonly depth: number
  readonly text: number
}

/** Copies a value into what JSON can hold, with secrets replaced and depth and length bounded. */
export function plain(value: unknown, redact: (text: string) => string, bounds: Bounds): unknown {
  if (typeof value === 'string') return redact(value).slice(0, bounds.text)
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'symbol' || typeof value === 'function') return undefined
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Error) return redact(value.message).slice(0, bounds.text)
  if (value instanceof Date || value instanceof URL) return redact(value.toJSON() ?? '')
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (bounds.depth <= 0) return '[deeper]'
  const inner = { ...bounds, depth: bounds.depth - 1 }
  if (Array.isArray(value)) return value.map((item) => plain(item, redact, inner))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [redact(key), plain(item, redact, inner)]),
  )
}

/** A line break or a terminal escape in a value must not forge a second line. */
export const oneLine = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029]/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

function textFields(fields: Record<string, unknown>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) =>
        ` ${oneLine(key)}=${oneLine(typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value))}`,
    )
    .join('')
}
