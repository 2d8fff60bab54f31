import type { Identity } from './identity.ts'
import { canonicalAddress } from './ip-name.ts'

/** Who may connect; a client that any one rule matches may. */
export interface AllowRules {
  /** Every client whose chain is verified. Stands alone. */
  all?: boolean
  /** Common names, compared exactly. */
  cn?: readonly string[]
  /** Organizational units, compared exactly. */
  ou?: readonly string[]
  /** DNS names, compared without regard to case; `*.example.com` stands for one more label of any name. */
  dns?: readonly string[]
  /**
   * URIs such as `spiffe://example.com/ns/shop/sa/web`, compared exactly but for segments between slashes: `*` is one
   * segment, `**` at the end is any number of them, none included.
   */
  uri?: readonly string[]
  /** IP addresses in any spelling. */
  ip?: readonly string[]
  /** SHA-256 of the public key (RFC 7469 2.4): `sha256/BASE64`, or base64 or hexadecimal alone. */
  spki?: readonly string[]
}

export type Decision = { allowed: true; rule: string } | { allowed: false; reason: string }

export interface Allow {
  (identity: Identity): Decision
  /**
   * False only when the rules are SPKI pins and nothing else. A pin then suffices without a chain: the handshake has
   * proved that the client holds the key. The caller decides: with a certificate authority configured it verifies the
   * chain all the same, and only without one may it let in a client whose chain is not verified. Then the end of the
   * certificate's life is not checked either, nor is any name in it to be believed; ghostunnel's pins are always so.
   * When true, an identity is worth nothing until the chain is verified: anyone may write any name in a certificate.
   */
  readonly needsChain: boolean
}

interface Rule {
  /** As it was given, `cn=admin`. */
  name: string
  matches: (identity: Identity) => boolean
}

type Kind = 'cn' | 'ou' | 'dns' | 'uri' | 'ip' | 'spki'
type Matcher = Rule['matches']

/** Each makes a rule of one pattern, or throws what is wrong with it and the remedy. */
const COMPILERS: Record<Kind, (pattern: string) => Matcher> = {
  cn: (pattern) => exactly(pattern, ({ commonNames }) => commonNames),
  ou: (pattern) => exactly(pattern, ({ organizationalUnits }) => organizationalUnits),
  dns: dnsMatcher,
  uri: uriMatcher,
  ip: addressMatcher,
  spki: pinMatcher,
}
const KINDS: readonly Kind[] = ['cn', 'ou', 'dns', 'uri', 'ip', 'spki']

/**
 * Makes one decision of many rules; the rule told is the first that matches, in the order of `AllowRules`. Throws an
 * Error with every pattern that cannot be used and its remedy, and when there is no rule at all.
 */
export function compileAllow(rules: AllowRules): Allow {
  const problems: string[] = []
  const compiled = KINDS.flatMap((kind) =>
    (rules[kind] ?? []).flatMap((pattern) => compile(kind, pattern, problems)),
  )
  const given = KINDS.filter((kind) => (rules[kind] ?? []).length > 0)
  if (rules.all === true && given.length > 0) {
    problems.push(`all makes the rules for ${given.join(', ')} meaningless: remove all, or remove them`)
  }
  if (rules.all !== true && given.length === 0) {
    problems.push('there is none: give cn, ou, dns, uri, ip or spki, or all to let in every verified client')
  }
  if (problems.length > 0) throw new Error(`the allow rules cannot be used: ${problems.join('; ')}`)
  const everyone: Rule = { name: 'all', matches: () => true }
  const ordered = rules.all === true ? [everyone] : compiled
  const decide = (identity: Identity): Decision => {
    const rule = ordered.find(({ matches }) => matches(identity))
    return rule === undefined ? refusal(identity) : { allowed: true, rule: rule.name }
  }
  return Object.assign(decide, { needsChain: given.some((kind) => kind !== 'spki') || rules.all === true })
}

function compile(kind: Kind, pattern: string, problems: string[]): Rule[] {
  try {
    if (pattern === '') throw new Error('is empty: remove it, or write the name')
    if (/\p{Cc}/u.test(pattern)) throw new Error('holds a control character, which no name may: remove it')
    return [{ name: `${kind}=${pattern}`, matches: COMPILERS[kind](pattern) }]
  } catch (error) {
    problems.push(`${kind} ${JSON.stringify(pattern)} ${error instanceof Error ? error.message : ''}`)
    return []
  }
}

// A subject may be as long as a certificate: what is reported of it is not.
function refusal({ subject, fingerprint256 }: Identity): Decision {
  const shown = subject.length > 200 ? `${subject.slice(0, 200)}...` : subject
  return { allowed: false, reason: `no allow rule matches the client "${shown}" (sha256 ${fingerprint256})` }
}

function exactly(pattern: string, names: (identity: Identity) => string[]): Matcher {
  return (identity) => names(identity).includes(pattern)
}

const DNS_NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

function dnsMatcher(pattern: string): Matcher {
  const name = pattern.toLowerCase()
  const parent = name.startsWith('*.') ? name.slice(2) : undefined
  if (!DNS_NAME.test(parent ?? name)) {
    throw new Error('is no DNS name: write one such as a.example.com, or *.example.com for one more label')
  }
  if (parent === undefined) return ({ dns }) => dns.some((candidate) => candidate.toLowerCase() === name)
  return ({ dns }) => dns.some((candidate) => isChild(candidate.toLowerCase(), parent))
}

// A certificate for `*.example.com` is for no host in particular: its asterisk is no label that a pattern stands for.
function isChild(candidate: string, parent: string): boolean {
  const dot = candidate.indexOf('.')
  return candidate.slice(dot + 1) === parent && dot > 0 && DNS_NAME.test(candidate)
}

/**
 * The characters of a segment that a wildcard stands for: all of a SPIFFE ID's path (SPIFFE-ID 2.2) and the tilde.
 * With slashes, percent-encoding, queries and user names left out, what a wildcard lets in is read alike everywhere.
 */
const PLAIN_SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._~-]+$/

// As ghostunnel's wildcards, but stricter where that is lax: there `spiffe://a/**` also matches `spiffe://ab`.
function uriMatcher(pattern: string): Matcher {
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-[\]_a-z~]+$/.test(pattern)) {
    throw new Error('is no URI: write one such as spiffe://example.com/ns/shop/*')
  }
  const segments = pattern.split('/')
  const deep = segments.at(-1) === '**'
  if (deep) segments.pop()
  if (segments.includes('**')) throw new Error('has ** before its end: use * for each segment there')
  if (segments.some((segment) => segment.includes('*') && segment !== '*')) {
    throw new Error('has a wildcard in a part of a segment: it stands for all that is between two slashes')
  }
  return ({ uris }) => uris.some((uri) => matchesSegments(uri.split('/'), segments, deep))
}

function matchesSegments(candidate: readonly string[], segments: readonly string[], deep: boolean): boolean {
  if (deep ? candidate.length < segments.length : candidate.length !== segments.length) return false
  return candidate.every((part, index) => {
    const segment = segments[index]
    return segment === undefined || segment === '*' ? PLAIN_SEGMENT.test(part) : part === segment
  })
}

function addressMatcher(pattern: string): Matcher {
  const address = canonicalAddress(pattern)
  if (address === undefined) {
    throw new Error('is no IP address: write one address, such as 10.0.0.1 or 2001:db8::1, without a prefix')
  }
  return ({ ips }) => ips.includes(address)
}

// ghostunnel writes `sha256:`, curl `sha256//`. The digest may itself begin with a slash: its length tells them apart.
const PIN = /^(?:sha256(?::|\/\/?))?([0-9a-f]{64}|[a-z0-9+/]{43}=)$/i

function pinMatcher(pattern: string): Matcher {
  const [, text = ''] = PIN.exec(pattern) ?? []
  const hexadecimal = text.length === 64
  const pin = Buffer.from(text, hexadecimal ? 'hex' : 'base64').toString('base64')
  // Two bits of the last character are in no byte: base64 that has them set would never match.
  if (text === '' || (!hexadecimal && pin !== text)) {
    throw new Error('is no SHA-256 of a public key: write sha256/ and its 44 characters of base64')
  }
  return ({ spkiPins }) => spkiPins === pin
}
