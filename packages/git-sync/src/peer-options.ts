/** An option of kubernetes/git-sync, as its versions 3, 4.7.1 and its main branch of July 2026 have it. */
export interface PeerOption {
  /** With its dashes; undefined where only the environment can say it. */
  readonly flag: string | undefined
  /** Of today; undefined where only a flag can say it. */
  readonly variable: string | undefined
  /** Variables of before that version 4 still takes. */
  readonly formers: readonly string[]
  /** In version 4, or in the first that has it, as it is typed; empty where nothing is set. */
  readonly default: string
  /** In version 3, where that was another. */
  readonly before?: string
  /** The first version that has it. */
  readonly since: 'v3' | 'v4' | 'main'
  /** It has another one in its place there, or none. */
  readonly deprecated: boolean
  /** Our parameter that does it; undefined where none does. */
  readonly ours: string | undefined
  /** What to know when coming from there. */
  readonly note: string
}

type Since = PeerOption['since']

const capitals = (flag: string): string => flag.toUpperCase().replaceAll('-', '_')
const camel = (flag: string): string => flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())

/** `--http-bind`, GITSYNC_HTTP_BIND, GIT_SYNC_HTTP_BIND and httpBind. */
function option(flag: string, value: string, since: Since, note = ''): PeerOption {
  return { ...younger(flag, value, since, note), formers: [`GIT_SYNC_${capitals(flag)}`] }
}

/** The same without a variable of before. */
function younger(flag: string, value: string, since: Since, note = ''): PeerOption {
  const names = { flag: `--${flag}`, variable: `GITSYNC_${capitals(flag)}`, formers: [], ours: camel(flag) }
  return { ...names, default: value, since, deprecated: false, note }
}

function deprecated(
  flag: string,
  variable: string | undefined,
  value: string,
  ours: string | undefined,
  note: string,
): PeerOption {
  return {
    flag: `--${flag}`,
    variable,
    formers: [],
    default: value,
    since: 'v3',
    deprecated: true,
    ours,
    note,
  }
}

/** All of them. */
export const peerOptions: readonly PeerOption[] = [
  option('repo', '', 'v3', 'required'),
  younger('ref', 'HEAD', 'v4'),
  { ...option('depth', '1', 'v3', '0 is all of the history'), before: '0' },
  younger('filter', '', 'v4'),
  option('submodules', 'recursive', 'v3'),
  option('sparse-checkout-file', '', 'v3'),
  { ...option('root', '', 'v3', 'required, but set in its image: to /git in version 4'), before: '/tmp/git' },
  option('link', '', 'v4', 'the last path element of the repository'),
  option('error-file', '', 'v3'),
  option('touch-file', '', 'v4'),
  option('group-write', 'false', 'v4'),
  option('add-user', 'false', 'v3'),
  younger('stale-worktree-timeout', '0', 'v4'),
  option('period', '10s', 'v4'),
  younger('init-period', '', 'v4', 'that of --period'),
  option('sync-timeout', '120s', 'v4'),
  option('one-time', 'false', 'v3'),
  option('sync-on-signal', '', 'v4'),
  option('max-failures', '0', 'v4', '0 and 1 both end at the first'),
  younger('init-max-failures', '', 'v4', 'that of --max-failures'),
  option('exechook-command', '', 'v3'),
  option('exechook-timeout', '30s', 'v3'),
  option('exechook-backoff', '3s', 'v3'),
  younger('pre-publish-exechook-command', '', 'main', 'there the link does not wait for it'),
  younger('pre-publish-exechook-timeout', '30s', 'main'),
  younger('pre-publish-exechook-backoff', '3s', 'main'),
  option('webhook-url', '', 'v3'),
  option('webhook-method', 'POST', 'v3'),
  option('webhook-success-status', '200', 'v3', '0 and -1: whatever is answered'),
  option('webhook-timeout', '1s', 'v3'),
  option('webhook-backoff', '3s', 'v3'),
  option('username', '', 'v3'),
  { ...option('password', '', 'v3'), flag: undefined },
  option('password-file', '', 'v3'),
  younger('credential', '', 'v4', 'may be given several times'),
  {
    ...option(
      'ssh-key-file',
      '/etc/git-secret/ssh',
      'v3',
      'may be given several times; with colons in the variable',
    ),
    formers: ['GIT_SYNC_SSH_KEY_FILE', 'GIT_SSH_KEY_FILE'],
  },
  {
    ...option('ssh-known-hosts', 'true', 'v3'),
    formers: ['GIT_SYNC_KNOWN_HOSTS', 'GIT_KNOWN_HOSTS'],
  },
  {
    ...option('ssh-known-hosts-file', '/etc/git-secret/known_hosts', 'v3'),
    formers: ['GIT_SYNC_SSH_KNOWN_HOSTS_FILE', 'GIT_SSH_KNOWN_HOSTS_FILE'],
  },
  {
    ...option('cookie-file', 'false', 'v3', 'a switch: the file is /etc/git-secret/cookie_file'),
    formers: ['GIT_SYNC_COOKIE_FILE', 'GIT_COOKIE_FILE'],
  },
  {
    ...option('askpass-url', '', 'v3'),
    formers: ['GIT_SYNC_ASKPASS_URL', 'GIT_ASKPASS_URL'],
  },
  younger('github-base-url', 'https://api.github.com/', 'v4'),
  { ...younger('github-app-private-key', '', 'v4'), flag: undefined },
  younger('github-app-private-key-file', '', 'v4'),
  younger('github-app-client-id', '', 'v4'),
  younger('github-app-application-id', '0', 'v4'),
  younger('github-app-installation-id', '0', 'v4'),
  option('git', 'git', 'v3'),
  option('git-config', '', 'v3'),
  { ...younger('git-config-add', '', 'main', 'may be given several times'), variable: undefined },
  { ...option('git-gc', 'always', 'v3', 'the manual of version 4 says auto'), before: 'auto' },
  option('http-bind', '', 'v3'),
  { ...option('http-metrics', 'false', 'v3'), before: 'true' },
  option('http-pprof', 'false', 'v3'),
  younger('verbose', '0', 'v4', 'also -v'),
  { ...younger('man', 'false', 'v4'), variable: undefined, ours: undefined, note: 'prints and ends' },
  { ...younger('version', 'false', 'v3'), variable: undefined, ours: undefined, note: 'prints and ends' },
  {
    ...younger('help', 'false', 'v3'),
    variable: undefined,
    ours: undefined,
    note: 'prints and ends; also -h and -?',
  },
  {
    ...deprecated('branch', 'GIT_SYNC_BRANCH', '', 'ref', 'not together with --rev, unless that is HEAD'),
    before: 'master',
  },
  {
    ...deprecated('rev', 'GIT_SYNC_REV', '', 'ref', 'not together with --branch, unless it is HEAD'),
    before: 'HEAD',
  },
  deprecated('dest', 'GIT_SYNC_DEST', '', 'link', 'wins over --link'),
  {
    ...deprecated('wait', 'GIT_SYNC_WAIT', '0', 'period', 'seconds with a fraction; wins over --period'),
    before: '1',
  },
  {
    ...deprecated('timeout', 'GIT_SYNC_TIMEOUT', '0', 'syncTimeout', 'seconds; wins over --sync-timeout'),
    before: '120',
  },
  deprecated(
    'max-sync-failures',
    'GIT_SYNC_MAX_SYNC_FAILURES',
    '0',
    'maxFailures',
    'wins over --max-failures',
  ),
  deprecated(
    'sync-hook-command',
    'GIT_SYNC_HOOK_COMMAND',
    '',
    'exechookCommand',
    'wins over --exechook-command',
  ),
  deprecated(
    'password',
    undefined,
    '',
    'password',
    'a flag is seen in the list of processes: use GITSYNC_PASSWORD',
  ),
  deprecated('v', undefined, '-1', 'verbose', 'wins over --verbose'),
  deprecated(
    'change-permissions',
    'GIT_SYNC_PERMISSIONS',
    '0',
    undefined,
    'refused by version 4: use --group-write',
  ),
  deprecated(
    'ssh',
    'GIT_SYNC_SSH',
    'false',
    undefined,
    'does nothing since version 4.1, which ignores the variable',
  ),
]
