import type { Credential } from './access.ts'

/** The credential that git would use for a URL: of the same origin, with the longest path that it is in. */
export function credentialFor(url: string, credentials: readonly Credential[]): Credential | undefined {
  const target = URL.parse(url)
  if (target === null) return undefined
  return byParticularity(credentials).find((credential) => {
    const scope = URL.parse(credential.url)
    if (scope === null || scope.origin !== target.origin || scope.origin === 'null') return false
    return `${pathOf(target)}/`.startsWith(`${pathOf(scope)}/`)
  })
}

/** Those for a host before those for a pattern of hosts, and then the longer path before the shorter; else as they are. */
export function byParticularity(credentials: readonly Credential[]): readonly Credential[] {
  const ranked = credentials.map((credential) => {
    const url = URL.parse(credential.url)
    const isPattern = url?.hostname.includes('*') ?? true
    return { credential, isPattern, length: url === null ? 0 : pathOf(url).length }
  })
  return ranked
    .toSorted((a, b) => Number(a.isPattern) - Number(b.isPattern) || b.length - a.length)
    .map(({ credential }) => credential)
}

/** Without a slash at its end, and each character written in one way. */
const pathOf = ({ pathname }: URL): string =>
  pathname
    .replace(/%[0-9a-f]{2}/gi, (escaped) => {
      const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
      return /[a-z0-9._~-]/i.test(character) ? character : escaped.toUpperCase()
    })
    .replace(/\/$/, '')
