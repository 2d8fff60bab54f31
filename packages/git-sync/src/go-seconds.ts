import { goDurationText } from './go-duration.ts'
import { parseGoInteger } from './go-integer.ts'

const mostSeconds = 9_223_372_036

/**
 * What `--wait` means, seconds with a fraction, as a duration in Go's words; all beyond milliseconds is cut off, as it
 * always was. Empty for 0, which leaves `--period` as it is.
 * @throws Error that begins with "must be"
 */
export function waitText(text: string): string {
  const isNumber = /^\+?(\d{1,32}\.?\d{0,32}|\.\d{1,32})(e[+-]?\d{1,3})?$/i.test(text)
  const seconds = isNumber ? Number(text) : Number.NaN
  if (!(seconds <= mostSeconds)) throw new Error('must be a number of seconds, such as 30 or 0.5')
  return seconds === 0 ? '' : goDurationText(Math.trunc(seconds * 1000))
}

/**
 * What `--timeout` means, whole seconds, as a duration in Go's words. Empty for 0, which leaves `--sync-timeout` as it
 * is.
 * @throws Error that begins with "must be"
 */
export function timeoutText(text: string): string {
  const seconds = parseGoInteger(text, 0, mostSeconds)
  return seconds === 0 ? '' : goDurationText(seconds * 1000)
}
