/** How many arguments a command takes. */
export interface Arity {
  readonly least: number
  readonly most: number
}

const shapes = [
  ['r', /^<[\w.-]+>$/],
  ['R', /^<[\w.-]+>\.\.\.$/],
  ['o', /^\[[\w.-]+\]$/],
  ['O', /^\[[\w.-]+\]\.\.\.$/],
] as const

/** Reads a usage such as `<old> <new> [report]` or `<key>...`; undefined where it is none. */
export function arityOf(usage: string): Arity | undefined {
  const words = usage.split(' ').filter((word) => word !== '')
  const shape = words.map((word) => shapes.find(([, pattern]) => pattern.test(word))?.[0] ?? '?').join('')
  // After an optional or a repeated one nobody could tell which argument is which.
  if (!/^r*(R|o*O?)$/.test(shape)) return undefined
  return {
    least: shape.replace(/o/gi, '').length,
    most: /[RO]$/.test(shape) ? Number.POSITIVE_INFINITY : words.length,
  }
}
