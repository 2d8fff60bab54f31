/** A repository or ref that must not reach git; the message says why. */
export class RefusedAddress extends Error {
  override readonly name = 'RefusedAddress'
}

const schemes = ['http', 'https', 'ssh', 'git', 'file', 'git+ssh', 'ssh+git']

/**
 * Passes what can only be an address: a URL of a scheme that git itself speaks, without a password and in HTTP without a
 * user, `[user@]host:path`, or a local path.
 * Attacks: `--upload-pack=...` as an option, `-oProxyCommand=...` as a host (CVE-2017-1000117), `ext::sh -c ...` as a
 * transport that runs programs.
 * @throws RefusedAddress
 */
export function checkRepo(repo: string): void {
  if (repo === '') refuse('must not be empty')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(repo)) refuse('must not hold control characters or line breaks')
  if (repo.startsWith('-')) refuse('must not begin with a dash: git would take it for an option')
  if (/^[a-z0-9+.-]*::/i.test(repo)) refuse('must not name a transport program such as ext::')
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(repo) ?? []
  if (scheme !== undefined) {
    checkUrl(repo, scheme.toLowerCase())
    return
  }
  if (/^\.{0,2}\//.test(repo)) return
  const [, host, path] = /^((?:[^@/:]+@)?\[[^\]/]+\]|[^:/]+):(?!\/\/)(.+)/.exec(repo) ?? []
  if (host === undefined) refuse('must be a URL, user@host:path, or a path that begins with / or ./')
  // Git takes the brackets away.
  if (/(^|[@[])-/.test(host ?? '')) refuse('must not name a host or user that begins with a dash')
  if (path?.startsWith('-')) refuse('must not name a path that begins with a dash')
}

function refuse(why: string): never {
  throw new RefusedAddress(why)
}

function checkUrl(repo: string, scheme: string): void {
  if (!schemes.includes(scheme))
    refuse(`must be a URL of http, https, ssh, git or file, and not of ${scheme}`)
  const parsed = URL.parse(repo) ?? refuse('must be a whole URL')
  // Some programs overlook a slash too many, and take what follows for the host.
  if (scheme !== 'file' && (parsed.hostname === '' || repo.includes(':///'))) refuse('must name a host')
  if (/^(-|%2d)/i.test(parsed.hostname) || /^(-|%2d)/i.test(parsed.username))
    refuse('must not name a host or user that begins with a dash')
  // Programs do not agree on where the host ends then.
  if (repo.includes('\\')) refuse('must not hold a backslash')
  const isHttp = /^https?$/.test(scheme)
  // The user of HTTP may be a token.
  if (parsed.password !== '' || (isHttp && parsed.username !== ''))
    refuse('must not hold a password or token: it would be written to .git/config; give it as a credential')
}

/** The name of a commit in whole: 40 hexadecimal digits, 64 in repositories that use SHA-256. */
export const isHash = (text: string): boolean => /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text)

/**
 * Passes branches, tags, whole names of refs, HEAD and whole hashes (git-check-ref-format(1)); never an option, a
 * refspec, or an expression such as `HEAD~1`.
 * @throws RefusedAddress
 */
export function checkRef(ref: string): void {
  if (ref === '') refuse('must not be empty')
  if (ref.startsWith('-')) refuse('must not begin with a dash: git would take it for an option')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const bad = /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^\/|^\+|^@$/.exec(ref)
  if (bad !== null) refuse(`must be a branch, a tag or a whole hash, and holds ${JSON.stringify(bad[0])}`)
  if (/(^|\/)\.|\.lock(\/|$)|[./]$/.test(ref)) refuse('must be a name that git allows for a branch or tag')
}
