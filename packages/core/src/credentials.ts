/**
 * A URL as it may be shown, without its credentials. A text that is no URL loses all before its last `@`: a password with
 * an unencoded `/`, `?` or `#`, or a forgotten scheme, are the commonest mistakes, and the message must not repeat it.
 */
export function maskCredentials(text: string): string {
  const parsed = parseUrl(text)
  if (parsed === null) return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, '$1***@')
  if (!holdsSecret(parsed)) return text
  parsed.username = '***'
  parsed.password = ''
  return parsed.href
}

/** The credentials in a URL, or in what should have been one, as they are written and as they are meant. */
export function credentialsIn(text: string): readonly string[] {
  const parsed = parseUrl(text)
  if (parsed !== null && !holdsSecret(parsed)) return []
  const pattern = parsed === null ? /^(?:[a-z][a-z0-9+.-]*:\/\/)?(.*)@/is : /^[^:]*:[/\\]*([^/\\?#]*)@/
  const [, pair = ''] = pattern.exec(text) ?? []
  const password = pair.slice(pair.indexOf(':') + 1)
  const hidden = parsed?.password || parsed?.username || password
  return [...new Set([pair, password, hidden, decoded(hidden)])].filter((part) => part !== '')
}

/** `admin:password@host:5432` parses as a URL of the scheme `admin:`; nobody means that. */
function parseUrl(text: string): URL | null {
  const parsed = URL.parse(text)
  return parsed?.host === '' && !text.includes('://') && text.includes('@') ? null : parsed
}

/** A user name alone may be a token (`https://<token>@github.com`), but with SSH it only names an account. */
const holdsSecret = ({ protocol, username, password }: URL): boolean =>
  password !== '' || (username !== '' && !/^(git\+)?ssh:$/.test(protocol))

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
