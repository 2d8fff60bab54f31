/** Thrown where a check reads a value that is not known. */
class NotKnown extends Error {
  override readonly name = 'NotKnown'
}

/** The same values, but for those of which only the name is known: a check that reads one of these is given up. */
export function knownOnly<V extends object>(values: V, unknown: ReadonlySet<string>): V {
  return new Proxy(values, {
    get(target, name) {
      if (typeof name === 'string') assertKnown(name, unknown)
      return Reflect.get(target, name)
    },
  })
}

/** Gives up the check that asks, when the value of this name is not known. */
export function assertKnown(name: string, unknown: ReadonlySet<string>): void {
  if (unknown.has(name)) throw new NotKnown()
}

/** What a check has found, up to where it read what is not known. */
export function* found(check: () => Iterable<string>): Generator<string> {
  try {
    yield* check()
  } catch (error) {
    if (!(error instanceof NotKnown)) throw error
  }
}
