import type { Credential } from './access.ts'

/** The credential that git would use for a URL: of the same origin, with the longest path that it is in. */
export function credentialFor(url: string, credentials: readonly Credential[]): Credential | undefined {
  const target = URL.parse(url)
  if (target === null) return undefined
  const fitting = credentials.filter((credential) => {
    const scope = URL.parse(credential.url)
    if (scope === null || scope.origin !== target.origin || scope.origin === 'null') return false
    const path = scope.pathname.replace(/\/$/, '')
    return target.pathname === path || target.pathname.startsWith(`${path}/`)
  })
  return fitting.toSorted((a, b) => b.url.length - a.url.length)[0]
}
