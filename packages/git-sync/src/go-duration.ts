const nanoseconds: ReadonlyMap<string, bigint> = new Map([
  ['ns', 1n],
  ['us', 1000n],
  // The micro sign, and the Greek letter that looks like it.
  ['\u00b5s', 1000n],
  ['\u03bcs', 1000n],
  ['ms', 1_000_000n],
  ['s', 1_000_000_000n],
  ['m', 60_000_000_000n],
  ['h', 3_600_000_000_000n],
])

/** Node fires timers beyond this at once, ms. */
export const longestTimerMs = 2 ** 31 - 1

const most = 2n ** 63n - 1n
const mostText = '2562047h47m16.854775807s'

/**
 * A time as Go writes it (`time.ParseDuration`) in milliseconds, with nanoseconds as their fraction: `300ms`, `-1.5h`,
 * `1h30m`, `0`. It may be negative, and longer than a timer of Node takes.
 * @throws Error that begins with "must be"
 */
export function parseGoDuration(text: string): number {
  const unsigned = text.replace(/^[+-]/, '')
  const total = unsigned === '0' ? 0n : sum(unsigned)
  const signed = text.startsWith('-') ? -total : total
  if (signed > most) throw new Error(`must be at most ${mostText}`)
  return Number(signed) / 1e6
}

function sum(text: string): bigint {
  const part = /(\d*)(?:\.(\d*))?([^\d.]+)/y
  let total = 0n
  do {
    const [, whole = '', fraction = '', unit = ''] = part.exec(text) ?? []
    const size = nanoseconds.get(unit)
    if (size === undefined || (whole === '' && fraction === '')) {
      throw new Error('must be a time with its unit, such as 500ms, 10s, 1m30s or 2h')
    }
    total += amount(whole) * size + portion(fraction, size)
    // The lowest has no positive counterpart, so it may stand only behind a minus.
    if (total > most + 1n) throw new Error(`must be at most ${mostText}`)
  } while (part.lastIndex < text.length)
  return total
}

/** More digits than these are beyond the limit, and a long text of them would take long. */
function amount(digits: string): bigint {
  const meaningful = digits.replace(/^0+(?=\d)/, '')
  return BigInt(meaningful.length > 19 ? '9'.repeat(19) : meaningful)
}

/** Rounded as Go rounds it: in floating point, and without the digits for which 63 bits have no room. */
function portion(digits: string, size: bigint): bigint {
  let value = 0n
  let scale = 1
  for (const digit of digits) {
    const next = value * 10n + BigInt(digit)
    if (value > most / 10n || next > most + 1n) break
    value = next
    scale *= 10
  }
  return BigInt(Math.trunc(Number(value) * (Number(size) / scale)))
}

/** Milliseconds as Go shows a duration: `1m30s`, `1.5s`, `300ms`, `0s`. */
export function goDurationText(ms: number): string {
  const total = BigInt(Math.round(Math.abs(ms) * 1e6))
  const sign = ms < 0 && total > 0n ? '-' : ''
  if (total > 0n && total < 1000n) return `${sign}${total}ns`
  if (total > 0n && total < 1_000_000n) return `${sign}${decimal(total, 1000n)}\u00b5s`
  if (total > 0n && total < 1_000_000_000n) return `${sign}${decimal(total, 1_000_000n)}ms`
  const minutes = total / 60_000_000_000n
  const seconds = `${decimal(total % 60_000_000_000n, 1_000_000_000n)}s`
  if (minutes === 0n) return sign + seconds
  const hours = minutes / 60n
  return `${sign}${hours > 0n ? `${hours}h` : ''}${minutes % 60n}m${seconds}`
}

function decimal(value: bigint, size: bigint): string {
  const places = String(size).length - 1
  const fraction = String(value % size)
    .padStart(places, '0')
    .replace(/0+$/, '')
  return fraction === '' ? String(value / size) : `${value / size}.${fraction}`
}
