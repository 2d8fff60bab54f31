/** `: did you mean <name>?`, or where to look. */
export const suggestion = (meant: string | undefined): string =>
  meant === undefined ? '; see --help' : `: did you mean ${meant}?`

/** The name that is most like a misspelt one, where one is like it; `prefix` is what all of them have. */
export function nearest(name: string, known: readonly string[], prefix: string): string | undefined {
  // Names come from outside and the distance is quadratic.
  const [best] = (name.length > 128 ? [] : known)
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(2, (candidate.length - prefix.length) / 4))
    .sort((a, b) => a.distance - b.distance)
  return best?.candidate
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current[column] = Math.min(substitution, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1)
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
