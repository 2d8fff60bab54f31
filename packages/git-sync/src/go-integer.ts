// An underscore stands between two digits, or between prefix and digit; a leading zero makes a number octal.
const literal =
  /^([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))$/

/**
 * A whole number as Go reads it with base 0 (`strconv.ParseInt`): `10`, `0x1F`, `0o17`, `017`, `0b11`, `1_000`. Those
 * beyond 2^53 are refused, which no setting comes near to.
 * @throws Error that begins with "must be"
 */
export function parseGoInteger(
  text: string,
  least: number = Number.MIN_SAFE_INTEGER,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  const [, sign, hexadecimal, binary, octal, decimal] = literal.exec(text) ?? []
  const magnitude =
    read(hexadecimal, 16) ?? read(binary, 2) ?? read(octal, 8) ?? read(decimal, 10) ?? Number.NaN
  const value = sign === '-' && magnitude !== 0 ? -magnitude : magnitude
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  const above = least > Number.MIN_SAFE_INTEGER ? ` from ${least}` : ''
  const below = most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''
  throw new Error(`must be a whole number${above}${below}`)
}

const read = (digits: string | undefined, base: number): number | undefined =>
  digits === undefined ? undefined : Number.parseInt(digits.replaceAll('_', ''), base)
