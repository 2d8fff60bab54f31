/** What went wrong, for metrics and for what is done next. */
export type GitErrorKind =
  | 'aborted'
  | 'authentication'
  | 'host-key'
  | 'certificate'
  | 'unreachable'
  | 'not-found'
  | 'no-ref'
  | 'no-space'
  | 'read-only'
  | 'permission'
  | 'corrupt'
  | 'refused'
  | 'missing-program'
  | 'output'
  | 'other'

/** A git process that failed. The message is for users: what git said, without secrets, and a remedy where one is known. */
export class GitError extends Error {
  override readonly name = 'GitError'
  readonly kind: GitErrorKind
  readonly command: string
  /** Undefined where it did not end by itself. */
  readonly exitCode: number | undefined
  /** All that is kept of what it wrote to standard error, without secrets. */
  readonly said: string

  constructor(
    command: string,
    kind: GitErrorKind,
    message: string,
    { exitCode, said = '' }: { readonly exitCode?: number | undefined; readonly said?: string } = {},
  ) {
    super(message)
    this.command = command
    this.kind = kind
    this.exitCode = exitCode
    this.said = said
  }
}

interface Rule {
  readonly kind: GitErrorKind
  readonly pattern: RegExp
  readonly remedy?: string
}

/** The first that fits decides; the texts are those of git 2.30 to 2.50 in the C locale, curl and OpenSSH. */
const rules: readonly Rule[] = [
  {
    kind: 'host-key',
    pattern: /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    remedy:
      'the server has another key than the one in the known hosts file: find out why, and only then put the new one in its place',
  },
  {
    kind: 'host-key',
    pattern: /Host key verification failed|No \S+ host key is known/i,
    remedy: "put the server's key into the known hosts file",
  },
  {
    kind: 'authentication',
    pattern:
      /Authentication failed|could not read (Username|Password)|terminal prompts disabled|Permission denied \((publickey|password|keyboard)|HTTP Basic: Access denied|requested URL returned error: 40[13]|Load key .*(bad permissions|error in libcrypto|invalid format)|UNPROTECTED PRIVATE KEY FILE/i,
    remedy: 'check user, password, token or key, and that it may read this repository',
  },
  {
    kind: 'certificate',
    pattern: /certificate subject name|does not match target host ?name/i,
    remedy: 'use a name in the address that the certificate of the server is for',
  },
  {
    kind: 'certificate',
    pattern: /error (setting|reading ca) cert|Problem with the (SSL CA|local SSL) cert/i,
    remedy: 'check the files that http.sslCAInfo, GIT_SSL_CAINFO or http.sslCert name',
  },
  {
    kind: 'certificate',
    pattern:
      /(SSL|server) certificate (problem|verification|expiration|activation)|certificate (has expired|verify failed|is not yet valid)|SSL peer certificate/i,
    remedy:
      'give the authority of the server by http.sslCAInfo, or have the certificate renewed if it has expired',
  },
  {
    kind: 'no-space',
    // Of a file of a tree git does not say why it could not be written.
    pattern: /No space left on device|Disk quota exceeded|unable to write file (?!.*: )/i,
    remedy: 'make room on the volume',
  },
  {
    kind: 'read-only',
    pattern: /Read-only file system/i,
    remedy: 'mount the volume so that it can be written',
  },
  {
    kind: 'unreachable',
    pattern:
      /Could not resolve (host|proxy|hostname)|Failed to connect|Couldn't connect|Connection (refused|timed out|reset|closed)|Name or service not known|Temporary failure in name resolution|Network is unreachable|No route to host|Operation timed out|the remote end hung up|early EOF|unexpected disconnect|RPC failed|requested URL returned error: 5\d\d|Empty reply from server|transfer closed|unable to access '.*(returned error|Recv failure|Send failure)/i,
  },
  {
    kind: 'not-found',
    pattern:
      /repository '.*' not found|Repository not found|does not appear to be a git repository|requested URL returned error: 404|not valid: is this a git repository/i,
    remedy: 'check the address, and whether the credentials may see it',
  },
  {
    kind: 'no-ref',
    pattern:
      /couldn't find remote ref|not our ref|no matching remote head|Server does not allow request for unadvertised/i,
    remedy: 'check the ref; many servers give no commit that neither a branch nor a tag leads to',
  },
  {
    kind: 'no-ref',
    pattern: /expected commit type, but the object dereferences to/i,
    remedy: 'name a ref that leads to a commit',
  },
  {
    kind: 'missing-program',
    pattern:
      /cannot run \S+: No such file or directory|nable to find remote helper|^.*\S: (command )?not found$/m,
    remedy: 'install what git calls for this address',
  },
  { kind: 'refused', pattern: /transport '.*' not allowed|protocol '.*' (is )?not supported/i },
  {
    kind: 'corrupt',
    pattern:
      /corrupt|bad object|inflate: data stream|missing (blob|tree|commit|object)|unable to read (tree|sha1|object)|invalid sha1 pointer|object file .* is empty|did not send all necessary objects|not a git repository|bad (tree|index) |index file (smaller|corrupt|open)|packfile .* (cannot|does not|is)|bad config line|unknown repository extension|Expected git repo version|unknown index entry|invalid object|could not parse (object|commit)|shallow file has changed/i,
  },
  {
    kind: 'permission',
    pattern: /Permission denied|Operation not permitted|insufficient permission|dubious ownership/i,
    remedy: 'let this user write the volume (fsGroup in Kubernetes)',
  },
  // What else curl says.
  { kind: 'unreachable', pattern: /unable to access ''/i },
]

/** Makes the error of a process that ended badly from what it said. */
export function gitError(
  command: string,
  { exitCode, how }: { readonly exitCode: number | undefined; readonly how: string },
  said: string,
): GitError {
  // Addresses and names may hold any of the words that are looked for.
  const words = said.replace(/(?<![a-z])'[^'\n]*'/gi, "''")
  const rule = rules.find(({ pattern }) => pattern.test(words))
  const remedy = rule?.remedy === undefined ? '' : `; ${rule.remedy}`
  const message = `git ${command} ${how}${summary(said)}${remedy}`
  return new GitError(command, rule?.kind ?? 'other', message, { exitCode, said })
}

/** The lines that say something, in one: progress and advice left out. */
function summary(said: string): string {
  const lines = said
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter(
      (line) =>
        line !== '' &&
        !/^(hint:|remote: (Enumerating|Counting|Compressing|Total)|Cloning into|warning: redirecting)/.test(
          line,
        ),
    )
  const text = lines.join('; ')
  return text === '' ? '' : `: ${text.length > 1000 ? `...${text.slice(-1000)}` : text}`
}
