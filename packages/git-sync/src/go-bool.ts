const truths = ['1', 't', 'T', 'TRUE', 'true', 'True']
const untruths = ['0', 'f', 'F', 'FALSE', 'false', 'False']

/**
 * A switch as Go reads it (`strconv.ParseBool`).
 * @throws Error that begins with "must be"
 */
export function parseGoBool(text: string): boolean {
  if (truths.includes(text)) return true
  if (untruths.includes(text)) return false
  throw new Error('must be true or false, or 1, t, T, TRUE, True, 0, f, F, FALSE or False')
}
