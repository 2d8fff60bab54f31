import { readFileSync } from 'node:fs'
import { type HttpRefs, openHttpRefs } from '@outrider/git-mirror'
import type { GitSetting } from './git-config-text.ts'

export interface CheapRefsSettings {
  readonly repo: string
  readonly settings: readonly GitSetting[]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly hasCookies: boolean
}

/**
 * Refs by one HTTP exchange, where nothing is configured that only git itself knows how to follow: proxies, cookies,
 * other addresses, headers, client certificates. Undefined elsewhere; git is asked then.
 */
export function openCheapRefs({
  repo,
  settings,
  environment,
  hasCookies,
}: CheapRefsSettings): HttpRefs | undefined {
  if (!/^https?:\/\//i.test(repo) || hasCookies) return undefined
  const set = Object.keys(environment).filter((name) => environment[name])
  if (
    set.some((name) => /^(https?|all)_proxy$|^GIT_(SSL|HTTP|PROXY)_/i.test(name) && name !== 'GIT_SSL_CAINFO')
  )
    return undefined
  const keys = settings.map(([key]) => key.toLowerCase())
  if (
    keys.some(
      (key) =>
        /^(http|url|credential|core\.gitproxy|remote|protocol|include)/.test(key) && key !== 'http.sslcainfo',
    )
  )
    return undefined
  const ca =
    environment['GIT_SSL_CAINFO'] ?? settings.findLast(([key]) => key.toLowerCase() === 'http.sslcainfo')?.[1]
  if (ca === undefined) return openHttpRefs(repo)
  try {
    return openHttpRefs(repo, { ca: readFileSync(ca) })
  } catch {
    // Git says what is wrong with the file.
    return undefined
  }
}
