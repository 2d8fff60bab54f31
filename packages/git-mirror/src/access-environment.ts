import type { Access, Credential, SshAccess } from './access.ts'
import { byParticularity } from './credential-for.ts'

/** A key of git's configuration and its value. */
export type Setting = readonly [key: string, value: string]

/** What lets one git process use an access: nothing of it is on disk or in an argument list. */
export interface AccessEnvironment {
  readonly settings: readonly Setting[]
  readonly variables: Readonly<Record<string, string>>
  /** What no error may hold. */
  readonly secrets: readonly string[]
}

/**
 * Credentials are handed to git by a helper (gitcredentials(7)) whose text is always the same: it prints two variables
 * of its own environment. The more particular URL comes first, since git asks helpers in turn.
 * @throws Error for a line break in a credential, which would be further lines of the helper's protocol, and for a URL
 * that is not of HTTP, which git might find to fit any host
 */
export function accessEnvironment({ credentials = [], ssh, cookieFile }: Access): AccessEnvironment {
  const ordered = byParticularity(credentials)
  const settings: Setting[] = []
  const variables: Record<string, string> = {}
  for (const [index, credential] of ordered.entries()) {
    checkCredential(credential)
    variables[`OUTRIDER_GIT_USERNAME_${index}`] = credential.username
    variables[`OUTRIDER_GIT_PASSWORD_${index}`] = credential.password
    settings.push([`credential.${credential.url}.helper`, helper(index)])
  }
  if (cookieFile !== undefined) settings.push(['http.cookieFile', cookieFile], ['http.saveCookies', 'false'])
  if (ssh !== undefined) {
    variables['GIT_SSH_COMMAND'] = sshCommand(ssh)
    variables['GIT_SSH_VARIANT'] = 'ssh'
  }
  return { settings, variables, secrets: ordered.flatMap(secretsOf) }
}

const helper = (index: number): string =>
  `!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$OUTRIDER_GIT_USERNAME_${index}" "$OUTRIDER_GIT_PASSWORD_${index}"; }; f`

function checkCredential({ url, username, password }: Credential): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000\r\n]/.test(`${url}${username}${password}`))
    throw new Error(
      `the credential for ${JSON.stringify(url)} holds a line break or NUL, which git cannot take`,
    )
  if (!/^https?:\/\/[^/?#@]+([/?#]|$)/i.test(url))
    throw new Error(
      `the credential for ${JSON.stringify(url.replace(/\/\/.*@/, '//***@'))} is for no URL that begins with https:// or http:// and a host`,
    )
}

/** As it is written, and as a URL and a header of HTTP would have it. */
const secretsOf = ({ username, password }: Credential): readonly string[] =>
  password === ''
    ? []
    : [password, encodeURIComponent(password), Buffer.from(`${username}:${password}`).toString('base64')]

function sshCommand({ keyFiles, knownHostsFile, strict, command = 'ssh' }: SshAccess): string {
  const options = [
    'BatchMode=yes',
    'ConnectTimeout=30',
    'ServerAliveInterval=15',
    `StrictHostKeyChecking=${strict ? 'yes' : 'no'}`,
    ...(knownHostsFile === undefined ? [] : [`UserKnownHostsFile=${sshPath(knownHostsFile)}`]),
    ...(keyFiles.length > 0 ? ['IdentitiesOnly=yes'] : []),
    // Not by -i, which takes no path with a % in it.
    ...keyFiles.map((file) => `IdentityFile=${sshPath(file)}`),
  ]
  return [command, ...options.map((option) => `-o ${quoted(option)}`)].join(' ')
}

/** ssh_config(5): white space separates file names, quotes and backslashes hold them together, and % begins a token. */
const sshPath = (path: string): string => `"${path.replace(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`

/** One word for a POSIX shell, which git gives this command to. */
const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
