import { type GitSetting, parseGitConfigText } from './git-config-text.ts'

const mask = '***'

/** What in a `--git-config` no output may hold: headers that are sent, helpers that are scripts, credentials in URLs. */
export function secretsInGitConfig(text: string): readonly string[] {
  const settings = read(text)
  if (settings === undefined) return text === '' ? [] : [text]
  return settings.flatMap(([key, value]) => [
    ...(isHeader(key) ? headerSecrets(value) : []),
    ...(isScript(key, value) ? [value] : []),
    ...credentialsOf(key),
    ...credentialsOf(value),
  ])
}

/** A `--git-config` as it may be shown; nothing of it where it cannot be read. */
export function shownGitConfig(text: string): string {
  const settings = read(text)
  if (settings === undefined) return text === '' ? '' : mask
  return settings
    .map(
      ([key, value]) =>
        `${quoted(masked(key))}:${quoted(isHeader(key) || isScript(key, value) ? mask : masked(value))}`,
    )
    .join(',')
}

function read(text: string): readonly GitSetting[] | undefined {
  try {
    return parseGitConfigText(text)
  } catch {
    return undefined
  }
}

/** `http.extraHeader` and `http.<url>.extraHeader`, most often with a token. */
const isHeader = (key: string): boolean => /\.extraheader$/i.test(key)

/** A credential helper that says what it gives: `!f() { echo password=...; }; f`. */
const isScript = (key: string, value: string): boolean => /\.helper$/i.test(key) && value.startsWith('!')

/** All of it, and the token alone; a short word, such as the value of a switch, would hide too much of every log. */
const headerSecrets = (value: string): string[] =>
  [value, value.replace(/^[^:]*:\s*/, ''), value.split(/\s+/).at(-1) ?? ''].filter((part) => part.length >= 8)

// Also behind two slashes alone: of an address in a key without quotes the scheme is the key, and the rest the value.
const pairs = /(?<=\/\/)[^/?#\s]*(?=@)/g

const credentialsOf = (text: string): string[] =>
  [...text.matchAll(pairs)]
    .flatMap(([pair]) => [pair, pair.slice(pair.indexOf(':') + 1)])
    .filter((part) => part !== '')

const masked = (text: string): string => text.replace(pairs, mask)

const quoted = (text: string): string =>
  /^[^",:\\\n\t]+$/.test(text)
    ? text
    : `"${text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`
