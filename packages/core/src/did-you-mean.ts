/** `: did you mean <name>?`, or where to look. */
export const suggestion = (meant: string | undefined): string =>
  meant === undefined ? '; see --help' : `: did you mean ${meant}?`

/** The name that is most like a misspelt one, where one is like it; `prefix` is what all of them have. */
export function nearest(name: string, known: Iterable<string>, prefix: string): string | undefined {
  // Names come from outside and the distance is quadratic.
  const [best] = (name.length > 128 ? [] : [...known])
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= farthest(candidate.length - prefix.length))
    .sort((a, b) => a.distance - b.distance)
  return best?.candidate
}

/** How many mistakes a name of that length may have: with two of them, one of four letters is another word. */
const farthest = (length: number): number => (length <= 4 ? 1 : Math.max(2, length / 4))

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
