import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import {
  address,
  type Check,
  type Context,
  counter,
  defineContainer,
  duration,
  type Facts,
  type Former,
  type Gate,
  gauge,
  histogram,
  kindOf,
  oneOf,
  type ParamFactory,
  type Values as ParamValues,
  path,
  requireFile,
  StartError,
  secret,
  text,
  url,
} from '@outrider/core'
import type { YamlFile } from '@outrider/core/yaml'
import { checkRef, checkRepo, createGit, type MirrorEvent, type ProcessReport } from '@outrider/git-mirror'
import {
  addUser,
  type CredentialSource,
  createGitHubApp,
  createWebhook,
  defaultLink,
  type ExecHook,
  errorKind,
  eventLine,
  type GitHubApp,
  gitHubAppFaults,
  type HookReport,
  isOfGitHub,
  joinCredentials,
  LegacyMetrics,
  loginFaults,
  loginOf,
  longestTimerMs,
  openCheapRefs,
  ProgramError,
  parseCredentials,
  parseGitConfigText,
  parseGoBool,
  parseGoDuration,
  parseGoInteger,
  peerOptions,
  type RepositoryEntry,
  RepositorySet,
  type RepositorySettings,
  type RepositoryStatus,
  readAccess,
  readRepositories,
  resolveLink,
  type SyncReport,
  secretsInCredentials,
  secretsInGitConfig,
  shownCredentials,
  shownGitConfig,
  splitRepo,
  startProbeEndpoint,
  startRepository,
  startTrigger,
  statusSections,
  timeoutText,
  waitText,
} from './index.ts'

const advanced = true
const optional = true

/** The peer's switches are Go's; ours take the words of all containers too. */
const goFlag: ParamFactory<boolean> = kindOf(
  {
    name: 'flag',
    parse(value) {
      if (/^(yes|no|on|off)$/i.test(value)) return /^(yes|on)$/i.test(value)
      return parseGoBool(value)
    },
    schema: { type: 'boolean' },
  },
  { default: 'false' },
)

const goInteger = (least: number): ParamFactory<number> =>
  kindOf({
    name: 'integer',
    parse: (value) => parseGoInteger(value, least, 2 ** 31 - 1),
    schema: { type: 'string' },
  })

/**
 * Go's durations, which the peer's users write, and those of all containers. What is longer than Node can wait, 24 days,
 * is as long as that, since years there mean never.
 */
const goDuration = (least: string, most = longestTimerMs): ParamFactory<number> =>
  kindOf({
    name: 'duration',
    parse(value) {
      const ms = /d/.test(value) ? duration.kind.parse(value) : parseGoDuration(value)
      if (ms < parseGoDuration(least)) throw new Error(`must be at least ${least}`)
      return Math.min(ms, most)
    },
    schema: { type: 'string' },
  })

const checkedText = (check: (value: string) => void): ParamFactory<string> =>
  kindOf({
    name: 'text',
    parse(value) {
      check(value)
      return value
    },
    schema: { type: 'string' },
  })

/** A path that need not be absolute, so that no snippet mounts its directory. */
const pathText = checkedText((value) => void path.kind.parse(value))

/** The address of a repository; what it holds of credentials is shown nowhere. */
const repository: ParamFactory<string> = kindOf({
  name: 'repository',
  parse(value) {
    checkRepo(splitRepo(value).repo)
    return value
  },
  // The user of `git@host:path` names an account of SSH.
  show: (value) => (isScpLike(value) ? value : (url.kind.show?.(value) ?? value)),
  secrets: (value) => (isScpLike(value) ? [] : (url.kind.secrets?.(value) ?? [])),
  schema: { type: 'string' },
})

const isScpLike = (repo: string): boolean => /^[\w.-]+@[^:/@]+:[^@]*$/.test(repo)

/** Secrets of Kubernetes often end in a line break that nobody means. */
const line: ParamFactory<string> = kindOf(
  {
    name: 'text',
    parse(value) {
      const text = value.replace(/\r?\n$/, '')
      if (/[\r\n]/.test(text)) throw new Error('must be one line')
      return text
    },
    secrets: (value) => [value.replace(/\r?\n$/, '')],
    schema: { type: 'string' },
  },
  { secret: true },
)

/** Of many services the path is the secret, and who has it may write to a channel. */
const webhookAddress: ParamFactory<URL> = kindOf({
  ...url.kind,
  show: (value) => {
    const parsed = URL.parse(value)
    return parsed === null || parsed.pathname + parsed.search === '/'
      ? (url.kind.show?.(value) ?? value)
      : `${parsed.origin}/***`
  },
  secrets: (value) => {
    const { pathname = '', search = '' } = URL.parse(value) ?? {}
    return [
      ...(url.kind.secrets?.(value) ?? []),
      ...(pathname.length > 8 || search !== '' ? [pathname + search] : []),
    ]
  },
})

const credentials: ParamFactory<readonly CredentialSource[]> = kindOf({
  name: 'json',
  parse: parseCredentials,
  show: shownCredentials,
  secrets: secretsInCredentials,
  schema: { type: 'string' },
})

const gitSettings: ParamFactory<ReturnType<typeof parseGitConfigText>> = kindOf({
  name: 'key:value,...',
  parse: parseGitConfigText,
  show: shownGitConfig,
  secrets: secretsInGitConfig,
  schema: { type: 'string' },
})

const signal = oneOf('SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT')
const signalNumbers: Readonly<Record<string, string>> = {
  1: 'HUP',
  10: 'USR1',
  12: 'USR2',
  18: 'CONT',
  28: 'WINCH',
}
const goSignal: ParamFactory<ReturnType<typeof signal.kind.parse>> = kindOf({
  ...signal.kind,
  name: 'signal',
  parse: (value) => signal.kind.parse(`SIG${(signalNumbers[value] ?? value).replace(/^SIG/i, '')}`),
})

/** How texts of older names of the peer become those of today. */
const converted: Readonly<Record<string, Former['says']>> = {
  '--wait': waitText,
  '--timeout': timeoutText,
  // HEAD was its default, and so said nothing.
  '--rev': (value) => (value === 'HEAD' ? '' : value),
  '--max-sync-failures': (value) => (parseGoInteger(value) === 0 ? '' : value),
  '--v': (value) => (parseGoInteger(value) < 0 ? '' : value),
}

/** The older names that a parameter had in the peer, from the table of its options. */
function older(ours: string): Pick<Facts, 'formerly'> {
  const formerly = peerOptions
    .filter((option) => option.ours === ours)
    .flatMap(({ flag, variable, formers, deprecated }): Former[] => {
      const says = flag === undefined ? undefined : converted[flag]
      const own: Former = {
        ...(deprecated && flag !== undefined && { flag }),
        ...(deprecated && variable !== undefined && { variable }),
        ...(says !== undefined && { says }),
      }
      return [...(deprecated ? [own] : []), ...formers.map((former) => ({ variable: former }))]
    })
  return formerly.length === 0 ? {} : { formerly }
}

const params = {
  repo: repository(
    'What to sync: a URL of HTTP, HTTPS or SSH, user@host:path, or a local path. User and password in a URL of HTTP are used as credentials and shown nowhere.',
    { unless: 'repositories', example: 'https://github.com/kubernetes/git-sync.git', ...older('repo') },
  ),
  ref: checkedText(checkRef)('Branch, tag or whole hash to sync; with a hash it is synced once.', {
    default: 'HEAD',
    ...older('ref'),
  }),
  root: path('Where all is kept: the repository, its trees and the link.', {
    default: '/git',
    directory: true,
    written: true,
    ...older('root'),
  }),
  link: pathText(
    'The link to the published tree, from the root unless absolute. Without it, the last part of the repository.',
    { optional, ...older('link') },
  ),
  repositories: path(
    'YAML file with a table of several repositories, each with its own ref, link and hooks; what it does not say is as the other parameters say.',
    { optional, reloads: true },
  ),
  period: goDuration('10ms')('How long to wait between syncs.', { default: '10s', ...older('period') }),
  syncTimeout: goDuration('10ms')('How long a whole sync may take.', {
    default: '120s',
    ...older('syncTimeout'),
  }),
  oneTime: goFlag('Ends after the first sync, as an init container does.', older('oneTime')),
  maxFailures: goInteger(-(2 ** 31))(
    'How many syncs may fail in a row until it ends: 0 and 1 at the first, negative never. Never, too, for a table of repositories where it is not set, unless it is one-time.',
    { default: '0', example: '-1', ...older('maxFailures') },
  ),
  readyMaxAge: goDuration('1s')(
    'How long ago the last successful sync may be until it is not ready; for ever without.',
    { optional },
  ),
  publish: oneOf('link', 'copy')(
    'A symbolic link, which switches all files at once; or a directory with a copy, for volumes and programs that know no links, where each file is switched by itself and all else in it is removed.',
    { default: 'link' },
  ),
  triggerBind: address('Where POST /sync is taken from forges and programs; needs a secret.', {
    optional,
  }),
  triggerSecret: secret(
    'The secret of webhooks, by which GitHub, GitLab, Gitea and Forgejo sign them, or the bearer token; several in lines, so that it can be changed.',
    { optional },
  ),
  username: text('User for the repository, by HTTP.', { optional, ...older('username') }),
  password: line('Password or token of that user.', {
    optional,
    fileParam: 'passwordFile',
    ...older('password'),
  }),
  passwordFile: path('File with the password, read before each sync.', {
    optional,
    ...older('passwordFile'),
  }),
  sshKeyFile: text('Files with SSH keys, with colons between; the default is used where it is there.', {
    default: '/etc/git-secret/ssh',
    repeats: (texts) => texts.join(':'),
    ...older('sshKeyFile'),
  }),
  exechookCommand: text(
    'Program that is run in each new tree after it is published, without arguments or a shell.',
    {
      optional,
      ...older('exechookCommand'),
    },
  ),
  webhookUrl: webhookAddress('Called after each new tree is published.', {
    optional,
    ...older('webhookUrl'),
  }),
  depth: goInteger(0)('How many commits of history are fetched; 0 for all.', {
    default: '1',
    advanced,
    ...older('depth'),
  }),
  filter: text('Of a partial clone, such as blob:none.', { optional, advanced, ...older('filter') }),
  submodules: oneOf(
    'recursive',
    'shallow',
    'off',
  )('Which submodules are in the tree: all, those of the repository itself, or none.', {
    default: 'recursive',
    advanced,
    ...older('submodules'),
  }),
  sparseCheckoutFile: path('File with patterns of sparse-checkout: what of the repository is in the tree.', {
    optional,
    advanced,
    ...older('sparseCheckoutFile'),
  }),
  errorFile: pathText(
    'File with the last error as JSON, from the root unless absolute; gone after a success.',
    {
      optional,
      advanced,
      ...older('errorFile'),
    },
  ),
  touchFile: pathText('File that is touched after the first sync and after each that changed something.', {
    optional,
    advanced,
    ...older('touchFile'),
  }),
  groupWrite: goFlag('Lets the group write what is published.', { advanced, ...older('groupWrite') }),
  addUser: goFlag('Adds the user of the process to /etc/passwd where it is missing, which SSH needs.', {
    advanced,
    ...older('addUser'),
  }),
  staleWorktreeTimeout: goDuration('0', Number.MAX_SAFE_INTEGER)(
    'How long a tree stays after another has taken its place.',
    {
      default: '0',
      advanced,
      ...older('staleWorktreeTimeout'),
    },
  ),
  initPeriod: goDuration('10ms')(
    'How long to wait between syncs until the first success; as period without.',
    {
      optional,
      advanced,
      ...older('initPeriod'),
    },
  ),
  initMaxFailures: goInteger(-(2 ** 31))(
    'How many syncs may fail in a row until the first success; as max-failures without.',
    { optional, advanced, ...older('initMaxFailures') },
  ),
  syncOnSignal: goSignal('Signal at which it syncs at once: HUP, USR1, USR2, WINCH or CONT, or its number.', {
    optional,
    advanced,
    ...older('syncOnSignal'),
  }),
  exechookTimeout: goDuration('1s')('How long that program may take.', {
    default: '30s',
    advanced,
    ...older('exechookTimeout'),
  }),
  exechookBackoff: goDuration('1s')('How long to wait until it is run again after a failure.', {
    default: '3s',
    advanced,
    ...older('exechookBackoff'),
  }),
  prePublishExechookCommand: text(
    'Program that is run in each new tree before it is published; where it fails, the old tree stays and it is tried again.',
    { optional, advanced },
  ),
  prePublishExechookTimeout: goDuration('1s')('How long that program may take.', {
    default: '30s',
    advanced,
  }),
  prePublishExechookBackoff: goDuration('1s')('How long to wait until it is run again after a failure.', {
    default: '3s',
    advanced,
  }),
  webhookMethod: text('Method of that call.', { default: 'POST', advanced, ...older('webhookMethod') }),
  webhookSuccessStatus: goInteger(-1)('Status that counts as success; with 0 or -1 any does.', {
    default: '200',
    advanced,
    ...older('webhookSuccessStatus'),
  }),
  webhookTimeout: goDuration('1s')('How long that call may take.', {
    default: '1s',
    advanced,
    ...older('webhookTimeout'),
  }),
  webhookBackoff: goDuration('1s')('How long to wait until it is called again after a failure.', {
    default: '3s',
    advanced,
    ...older('webhookBackoff'),
  }),
  webhookSecret: secret('Signs that call, which then has a body in JSON.', { optional, advanced }),
  credential: credentials(
    'Credentials of further URLs, such as those of submodules: a JSON object with url, username and password or password-file, or a list of them.',
    { optional, advanced, repeats: joinCredentials, ...older('credential') },
  ),
  askpassUrl: url('Asked for username and password before each sync.', {
    optional,
    advanced,
    ...older('askpassUrl'),
  }),
  cookieFile: goFlag('Uses the cookies in /etc/git-secret/cookie_file.', {
    advanced,
    ...older('cookieFile'),
  }),
  sshKnownHosts: goFlag('Refuses SSH servers whose key is not known.', {
    default: 'true',
    fileParam: 'sshKnownHostsFile',
    advanced,
    ...older('sshKnownHosts'),
  }),
  sshKnownHostsFile: path('File with the keys of SSH servers.', {
    default: '/etc/git-secret/known_hosts',
    advanced,
    ...older('sshKnownHostsFile'),
  }),
  githubBaseUrl: url('The API of GitHub, for the tokens of an app.', {
    default: 'https://api.github.com/',
    advanced,
    ...older('githubBaseUrl'),
  }),
  githubAppPrivateKey: secret('Private key of a GitHub App, PEM.', {
    optional,
    advanced,
    fileParam: 'githubAppPrivateKeyFile',
  }),
  githubAppPrivateKeyFile: path('File with that key.', { optional, advanced }),
  githubAppClientId: text('Client id of the app, or its application id.', { optional, advanced }),
  githubAppApplicationId: goInteger(0)('Application id of the app, or its client id.', {
    default: '0',
    advanced,
  }),
  githubAppInstallationId: goInteger(0)('Which installation of the app.', { default: '0', advanced }),
  verifySshAllowedSigners: path(
    'File of allowed signers (ssh-keygen): only what one of them has signed is published.',
    { optional, advanced },
  ),
  verifyGpgKeys: path('File with OpenPGP keys: only what one of them has signed is published.', {
    optional,
    advanced,
  }),
  git: text('The program git.', { default: 'git', advanced, ...older('git') }),
  gitConfig: gitSettings('Configuration of git: key:value,key2:"value 2".', {
    optional,
    advanced,
    ...older('gitConfig'),
  }),
  gitConfigAdd: gitSettings('More of it.', { optional, advanced, repeats: (texts) => texts.join(',') }),
  gitGc: oneOf(
    'auto',
    'always',
    'aggressive',
    'off',
  )('When git tidies up after a change.', {
    default: 'always',
    advanced,
    ...older('gitGc'),
  }),
  httpBind: address(
    'Where git-sync answered probes: 200 on every path after the first sync. Admin has better ones.',
    {
      optional,
      advanced,
      ...older('httpBind'),
    },
  ),
  httpMetrics: goFlag('Tells the metrics of git-sync under their own names at /metrics there.', {
    advanced,
    ...older('httpMetrics'),
  }),
  httpPprof: goFlag('Takes profiles at /debug/pprof/ there.', { advanced, ...older('httpPprof') }),
  verbose: goInteger(-1)('From 5 on it logs each process and event too, as LOG_LEVEL=debug does.', {
    default: '0',
    short: 'v',
    advanced,
    ...older('verbose'),
  }),
} as const

const metrics = {
  syncs: counter('syncs_total', 'Syncs, by result: published, unchanged or failed.', [
    'repository',
    'outcome',
  ]),
  duration: histogram(
    'sync_duration_seconds',
    'How long syncs took.',
    ['repository'],
    [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120],
  ),
  errors: counter('errors_total', 'Failed syncs, by what was wrong.', ['repository', 'kind']),
  failures: gauge('consecutive_failures', 'Syncs that have failed in a row.', ['repository']),
  success: gauge('last_success_timestamp_seconds', 'When a sync last succeeded, Unix time; 0 for never.', [
    'repository',
  ]),
  changed: gauge('last_change_timestamp_seconds', 'When a tree was last published, Unix time; 0 for never.', [
    'repository',
  ]),
  info: gauge('published_info', 'Always 1; the label says which commit is published.', [
    'repository',
    'commit',
  ]),
  behind: gauge(
    'behind_seconds',
    'For how long the remote is known to have a commit that is not published; 0 when there is none.',
    ['repository'],
  ),
  processes: counter('git_processes_total', 'Processes of git that were started, by command.', ['command']),
  recoveries: counter('recoveries_total', 'Times that leftovers of a crash were cleared away.', [
    'repository',
  ]),
  rebuilds: counter('rebuilds_total', 'Times that the repository was made anew beside the published tree.', [
    'repository',
  ]),
  hooks: counter('hook_runs_total', 'Runs of hooks, by result: success or error.', [
    'repository',
    'hook',
    'outcome',
  ]),
  triggers: counter('triggers_total', 'Requests to sync, by how they were signed and what became of them.', [
    'form',
    'outcome',
  ]),
  askpass: counter('askpass_total', 'Questions to the askpass URL, by result.', ['outcome']),
  tokens: counter('github_tokens_total', 'Tokens asked of GitHub, by result.', ['outcome']),
} as const

type Values = ParamValues<typeof params>
type Own = Context<typeof params, typeof metrics, '/status'>

/** Directories in which the peer's users mount their secrets. */
const cookieFile = '/etc/git-secret/cookie_file'

const checks: readonly Check<typeof params>[] = [
  function* (values, nameOf) {
    if (values.triggerBind !== undefined && values.triggerSecret === undefined)
      yield `${nameOf('triggerBind')} needs ${nameOf('triggerSecret')}: anybody could ask for syncs`
  },
  function* ({ triggerBind, triggerSecret }, nameOf) {
    if (triggerSecret !== undefined && triggerBind === undefined)
      yield `${nameOf('triggerSecret')} is of no use without ${nameOf('triggerBind')}`
  },
  function* ({ httpBind, httpMetrics, httpPprof }, nameOf) {
    if (httpBind !== undefined) return
    if (httpMetrics) yield `${nameOf('httpMetrics')} needs ${nameOf('httpBind')}`
    if (httpPprof) yield `${nameOf('httpPprof')} needs ${nameOf('httpBind')}`
  },
  function* (values, nameOf) {
    const { repo, repositories, link, errorFile, username, password, passwordFile, askpassUrl } = values
    if (repositories === undefined) return
    const table = nameOf('repositories')
    if (repo !== undefined) yield `${nameOf('repo')} and ${table} are both set: put all into the table`
    if (link !== undefined) yield `${nameOf('link')} and ${table} are both set: each entry has its own`
    // One that succeeds would delete what another has written.
    if (errorFile !== undefined)
      yield `${nameOf('errorFile')} and ${table} are both set: give each entry its own`
    // They would be sent to the host of every entry.
    if (username !== undefined || password !== undefined || passwordFile !== undefined)
      yield `${nameOf('username')} and ${table} are both set: give each entry its own, or ${nameOf('credential')} with a URL`
    if (askpassUrl !== undefined)
      yield `${nameOf('askpassUrl')} and ${table} are both set: give each entry its own password, or ${nameOf('credential')} with a URL`
  },
  function* ({ root }, nameOf) {
    if (resolve(root) === '/')
      yield `${nameOf('root')} is "${root}" but must be a directory of its own, such as /git`
  },
  function* ({ period, readyMaxAge }, nameOf) {
    if (readyMaxAge !== undefined && readyMaxAge <= period)
      yield `${nameOf('readyMaxAge')} must be longer than ${nameOf('period')}: it would not be ready between two syncs`
  },
  function* ({ repo, root, link }, nameOf) {
    if (repo === undefined) return
    try {
      resolveLink(resolve(root), link ?? defaultLink(splitRepo(repo).repo))
    } catch (error) {
      const shown = link === undefined ? `the last part of ${nameOf('repo')}` : `"${link}"`
      yield `${nameOf('link')} is ${shown} but ${(error as Error).message}`
    }
  },
  function* ({ repo, username, password, passwordFile }, nameOf) {
    if (repo === undefined) return
    for (const fault of loginFaults({ repo, username, password, passwordFile }))
      yield `${nameOf('username')}, ${nameOf('password')}, ${nameOf('passwordFile')}: ${fault}`
  },
  function* (values, nameOf) {
    const setup = {
      clientId: values.githubAppClientId,
      applicationId: values.githubAppApplicationId,
      installationId: values.githubAppInstallationId,
      privateKey: values.githubAppPrivateKey,
      privateKeyFile: values.githubAppPrivateKeyFile,
      username: values.username,
    }
    for (const fault of gitHubAppFaults(setup)) yield `${nameOf('githubAppClientId')}: ${fault}`
  },
  function* ({ webhookUrl, webhookMethod, webhookSuccessStatus, webhookTimeout }, nameOf) {
    if (webhookUrl === undefined) return
    try {
      createWebhook({
        url: webhookUrl.href,
        method: webhookMethod,
        successStatus: webhookSuccessStatus,
        timeoutMs: webhookTimeout,
        repository: '',
        ref: '',
      })
    } catch (error) {
      yield `${nameOf('webhookUrl')}: ${(error as Error).message}`
    }
  },
]

const sshWhy = 'the address of the repository says whether SSH is used'

export default defineContainer({
  name: 'git-sync',
  pattern: 'sidecar',
  summary:
    'Keeps a directory at a ref of a git repository, for an application that serves or runs what is in it.',
  contract: [
    'The link is relative, is replaced by a rename, and the last element of its target is the hash of the commit.',
    'Whatever fails, the published tree stays whole.',
    'Killed at any instant, it leaves a link to one whole commit, and the next start clears away the rest.',
    'An idle poll starts at most one process of git.',
    'Credentials are never in arguments, logs, errors or on disk.',
    'A push is published at once by a signed trigger, and a trigger that is forged or repeated does nothing.',
    'It is not ready before the first sync, nor when the last success is too long ago.',
    'Only what allowed signers have signed is published, where signers are given.',
    'The flags and variables of kubernetes/git-sync mean what they mean there.',
  ],
  admin: 9102,
  prefix: 'GITSYNC_',
  base: 'git',
  params,
  ports: { trigger: 'triggerBind', probes: 'httpBind' },
  volumes: {
    '/git': { help: 'What is synced; the application mounts it too.', from: 'shared' },
    '/etc/git-secret': 'SSH key, known hosts and cookies: ssh, known_hosts, cookie_file.',
  },
  metrics,
  pages: {
    '/status': {
      title: 'Repositories',
      help: 'Each repository with its ref, published commit, state and last success.',
    },
  },
  retired: [
    { flag: '--ssh', variable: 'GIT_SYNC_SSH', takesValue: false, why: sshWhy, refused: false },
    // The chart of Airflow sets it.
    { variable: 'GITSYNC_SSH', takesValue: false, why: sshWhy, refused: false },
    {
      flag: '--change-permissions',
      variable: 'GIT_SYNC_PERMISSIONS',
      takesValue: true,
      why: 'with --group-write the group may write what is published',
      refused: (mode) => !/^0+$/.test(mode),
    },
    ...['--logtostderr', '--alsologtostderr', '--stderrthreshold', '--vmodule'].map((flag) => ({
      flag,
      takesValue: flag === '--stderrthreshold' || flag === '--vmodule',
      why: 'the log is on standard output, each line a JSON object',
      refused: false,
    })),
  ],
  singleDash: true,
  checks,
  needs: ({ root, sshKeyFile, repo, cookieFile: hasCookies, syncTimeout, oneTime }) => ({
    endsByItself: oneTime,
    memory: 512,
    // The first sync may take all of its time.
    readyWithin: Math.max(60, Math.ceil(syncTimeout / 1000)),
    unread: [
      ...(isSsh(repo) || hasCookies || sshKeyFile !== '/etc/git-secret/ssh' ? [] : ['/etc/git-secret']),
      ...(isInDefaultRoot(root) ? [] : ['/git']),
    ],
  }),
  async start(context) {
    const { params, log, nameOf, metrics, page, onScrape, gate } = context
    process.umask(params.groupWrite ? 0o002 : 0o022)
    if (params.addUser) await nameUser(context)
    const legacy = new LegacyMetrics()
    const set = new RepositorySet()
    const synced = gate('sync', 'not every repository was synced yet')
    const probes =
      params.httpBind &&
      (await startProbeEndpoint({
        listen: params.httpBind,
        ...(params.httpMetrics && { metrics: () => legacy.text() }),
        pprof: params.httpPprof,
        onError: (error) => log.warn('probes could not be answered', { error }),
      }))
    const fresh = new Freshness(context, set)
    const onSynced = () => {
      fresh.look()
      const pending = set.statuses().filter(({ lastSuccess }) => lastSuccess === undefined)
      if (pending.length > 0) {
        synced.close(pendingText(pending))
        return
      }
      synced.open()
      probes?.markSynced()
    }
    const gitHub = appOf(context, legacy)
    const want = (settings: RepositorySettings, login: CredentialSource | undefined, app?: GitHubApp) => ({
      name: settings.name,
      identity: JSON.stringify([settings, login]),
      start: () => startOne(context, settings, { login, app, legacy, onSynced }),
    })
    const { repo, repositories } = params
    try {
      if (repo !== undefined) {
        const login = loginOf({ repo, ...loginParams(params) })
        await set.apply([want(singleSettings(params, splitRepo(repo).repo), login, gitHub)])
        onSynced()
      }
      if (repositories !== undefined)
        await context.follow('repositories', ['repositories'], async (contents) => {
          const table = await readTable(requireFile(contents, repositories), params.root)
          const entries = table.map((entry) => {
            const settings = entrySettings(params, context.given('maxFailures'), entry)
            // Other hosts must not be sent its tokens.
            const own = isOfGitHub(entry.repo, params.githubBaseUrl) ? gitHub : undefined
            return want(settings, entry.credential, own)
          })
          await set.apply(entries)
          onSynced()
        })
      if (params.syncOnSignal !== undefined) context.onSignal(params.syncOnSignal, () => set.trigger('all'))
      page('/status', () => ({ repositories: set.statuses(), now: Date.now() }), statusSections)
      onScrape(() => scrape(metrics, set))
      const trigger =
        params.triggerBind &&
        (await startTrigger({
          listen: params.triggerBind,
          secrets: (params.triggerSecret ?? '').split(/\r?\n/).filter((each) => each.trim() !== ''),
          isKnown: (name) => set.has(name),
          onTrigger: (names) => set.trigger(names),
          onRequest: ({ form, outcome, from }) => {
            metrics.triggers.inc({ form, outcome })
            detailOf(context)('trigger', { form, outcome, from })
          },
          onError: (error) => log.warn('triggers could not be taken', { error }),
        }))
      return {
        addresses: {
          ...(trigger && { trigger: trigger.address }),
          ...(probes && { probes: probes.address }),
        },
        ended: set.ended,
        drain: async () => {
          trigger?.drain()
          await set.stop()
        },
        [Symbol.asyncDispose]: async () => {
          fresh[Symbol.dispose]()
          await Promise.all([
            set[Symbol.asyncDispose](),
            trigger?.[Symbol.asyncDispose](),
            probes?.[Symbol.asyncDispose](),
          ])
        },
      }
    } catch (error) {
      fresh[Symbol.dispose]()
      await set[Symbol.asyncDispose]()
      await probes?.[Symbol.asyncDispose]()
      throw error
    }

    async function nameUser({ environment }: Own): Promise<void> {
      if (hasName()) return
      const uid = process.getuid?.() ?? 0
      const gid = process.getgid?.() ?? 0
      try {
        await addUser('/etc/passwd', { uid, gid, home: environment['HOME'] ?? '/' })
      } catch (error) {
        throw new StartError(`${nameOf('addUser')}: ${(error as Error).message}`)
      }
    }
  },
})

/** The image gives every user a name, without a line in the file. */
function hasName(): boolean {
  try {
    userInfo()
    return true
  } catch {
    return false
  }
}

/** Which repositories were never synced, and what the last try met. */
const pendingText = (pending: readonly RepositoryStatus[]): string =>
  `not synced yet: ${pending
    .slice(0, 10)
    .map(({ name, errorKind, error }) =>
      error === undefined ? name : `${name} (${errorKind}: ${error.slice(0, 300)})`,
    )
    .join('; ')}`

const isInDefaultRoot = (root: string): boolean => /^\/git(\/|$)/.test(resolve(root))

const isSsh = (repo: string | undefined): boolean =>
  repo !== undefined && (/^(git\+)?ssh:/i.test(repo) || (!repo.includes('://') && /^[^/]+:/.test(repo)))

const loginParams = ({ username, password, passwordFile }: Values) => ({ username, password, passwordFile })

async function readTable(content: Buffer, root: string): Promise<readonly RepositoryEntry[]> {
  const { parseYaml } = await import('@outrider/core/yaml')
  const { value, where }: YamlFile = parseYaml(content.toString())
  const read = readRepositories(value, { root: resolve(root), where })
  if (!read.ok) throw new Error(read.problems.join('; '))
  return read.repositories
}

/** What holds for every repository. */
function commonSettings(params: Values) {
  const { verifySshAllowedSigners: allowedSigners, verifyGpgKeys: gpgKeys } = params
  return {
    root: resolve(params.root),
    ref: params.ref,
    depth: params.depth,
    submodules: params.submodules,
    gc: params.gitGc,
    publish: params.publish,
    staleAfterMs: params.staleWorktreeTimeout,
    periodMs: params.period,
    initPeriodMs: params.initPeriod ?? params.period,
    timeoutMs: params.syncTimeout,
    maxFailures: params.maxFailures,
    initMaxFailures: params.initMaxFailures ?? params.maxFailures,
    isOneTime: params.oneTime,
    ...defined({
      filter: params.filter,
      sparseCheckoutFile: params.sparseCheckoutFile,
      touchFile: params.touchFile,
      errorFile: params.errorFile,
      execHook: execHook(params, params.exechookCommand),
      prePublishHook: prePublishHook(params, params.prePublishExechookCommand),
      webhook: webhook(params, params.webhookUrl?.href),
    }),
    ...signersOf(allowedSigners, gpgKeys),
  }
}

function singleSettings(params: Values, repo: string): RepositorySettings {
  const common = commonSettings(params)
  const link = resolveLink(common.root, params.link ?? defaultLink(repo))
  return { ...common, name: 'default', repo: absoluteRepo(repo), directory: common.root, link }
}

function entrySettings(params: Values, isLimited: boolean, entry: RepositoryEntry): RepositorySettings {
  const common = commonSettings(params)
  const { name, repo, link, periodMs } = entry
  return {
    ...common,
    // Several share a process, and one of them must not end the others.
    ...(!isLimited && !params.oneTime && { maxFailures: -1, initMaxFailures: params.initMaxFailures ?? -1 }),
    ...{ name, link, repo: absoluteRepo(repo), directory: resolve(common.root, '.repositories', name) },
    ...defined({
      ref: entry.ref,
      depth: entry.depth,
      filter: entry.filter,
      submodules: entry.submodules,
      sparseCheckoutFile: entry.sparseCheckoutFile,
      periodMs,
      initPeriodMs: params.initPeriod ?? periodMs,
      touchFile: entry.touchFile,
      errorFile: entry.errorFile,
      execHook: execHook(params, entry.exechookCommand),
      prePublishHook: prePublishHook(params, entry.prePublishExechookCommand),
      webhook: webhook(params, entry.webhookUrl),
    }),
    ...signersOf(
      entry.verifySshAllowedSigners ?? params.verifySshAllowedSigners,
      entry.verifyGpgKeys ?? params.verifyGpgKeys,
    ),
  }
}

/** Git runs in the root, from which a relative path would be another one. */
const absoluteRepo = (repo: string): string => (/^\.{1,2}\//.test(repo) ? resolve(repo) : repo)

function signersOf(allowedSigners: string | undefined, gpgKeys: string | undefined) {
  return allowedSigners === undefined && gpgKeys === undefined
    ? {}
    : { signers: defined({ allowedSigners, gpgKeys }) }
}

function execHook(params: Values, command: string | undefined): ExecHook | undefined {
  return command === undefined
    ? undefined
    : { command, timeoutMs: params.exechookTimeout, backoffMs: params.exechookBackoff }
}

function prePublishHook(params: Values, command: string | undefined): ExecHook | undefined {
  return command === undefined
    ? undefined
    : { command, timeoutMs: params.prePublishExechookTimeout, backoffMs: params.prePublishExechookBackoff }
}

function webhook(params: Values, to: string | undefined): RepositorySettings['webhook'] {
  if (to === undefined) return undefined
  return {
    url: to,
    method: params.webhookMethod,
    successStatus: params.webhookSuccessStatus,
    timeoutMs: params.webhookTimeout,
    backoffMs: params.webhookBackoff,
    ...defined({ secret: params.webhookSecret }),
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Without what is undefined. */
const defined = <T extends object>(values: T): Defined<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>

function appOf({ params, metrics, environment }: Own, legacy: LegacyMetrics): GitHubApp | undefined {
  const issuer = params.githubAppClientId ?? (params.githubAppApplicationId || undefined)
  const { githubAppPrivateKey: text, githubAppPrivateKeyFile: file } = params
  if (issuer === undefined) return undefined
  return createGitHubApp({
    baseUrl: params.githubBaseUrl.href,
    issuer: String(issuer),
    installationId: params.githubAppInstallationId,
    privateKey: file === undefined ? { text: text ?? '' } : { file },
    proxies: environment,
    onRefresh: (outcome) => {
      metrics.tokens.inc({ outcome })
      legacy.countGithubAppToken(outcome)
    },
  })
}

interface Around {
  readonly login: CredentialSource | undefined
  readonly app: GitHubApp | undefined
  readonly legacy: LegacyMetrics
  readonly onSynced: () => void
}

/** What `--verbose` shows as the peer does, and the level of the log otherwise. */
const detailOf = ({ params, log }: Own) => (params.verbose >= 5 ? log.info : log.debug)

/** Starts one repository, and makes metrics and log lines of what it reports. */
function startOne(context: Own, settings: RepositorySettings, { login, app, legacy, onSynced }: Around) {
  const { params, metrics, log, environment, hide } = context
  const detail = detailOf(context)
  const { name: repository, repo } = settings
  const gitConfig = [...(params.gitConfig ?? []), ...(params.gitConfigAdd ?? [])]
  const credentials = [...(login === undefined ? [] : [login]), ...(params.credential ?? [])]
  const git = createGit({
    program: params.git,
    environment,
    settings: gitConfig,
    onProcess: ({ command, ms, error }: ProcessReport) => {
      metrics.processes.inc({ command })
      detail('git', { repository, command, ms: Math.round(ms), error })
    },
  })
  const refs = openCheapRefs({ repo, settings: gitConfig, environment, hasCookies: params.cookieFile })
  return startRepository(settings, {
    git,
    environment,
    ...(refs !== undefined && { refs }),
    access: () =>
      readAccess({
        repo,
        credentials,
        ...defined({
          askpassUrl: params.askpassUrl,
          app,
          cookieFile: params.cookieFile ? cookieFile : undefined,
        }),
        onAskpass: (outcome) => {
          metrics.askpass.inc({ outcome })
          legacy.countAskpass(outcome)
        },
        ssh: {
          keyFiles: params.sshKeyFile.split(':').filter((file) => file !== ''),
          isDefault: !context.given('sshKeyFile'),
          knownHosts: params.sshKnownHosts,
          knownHostsFile: params.sshKnownHostsFile,
          ...defined({ command: environment['GIT_SSH_COMMAND'] }),
        },
        onSecret: hide,
      }),
    onSync: (report) => {
      seeSync(context, legacy, repository, report)
      onSynced()
    },
    onEvent: (event) => seeEvent(context, legacy, repository, event),
    onHook: (report) => seeHook(context, legacy, repository, report),
    onFileError: (error) => log.warn('a report file cannot be written', { repository, error }),
  })
}

function seeSync({ metrics, log }: Own, legacy: LegacyMetrics, repository: string, report: SyncReport): void {
  const seconds = report.ms / 1000
  metrics.syncs.inc({ repository, outcome: report.outcome })
  metrics.duration.observe({ repository }, seconds)
  if (report.outcome !== 'failed') {
    const { hash } = report.tree
    const { isFirst } = report
    legacy.countSync(report.outcome === 'published' || isFirst ? 'success' : 'noop', seconds)
    if (report.outcome === 'published') log.info('published', { repository, hash, ms: Math.round(report.ms) })
    else if (isFirst) log.info('already published', { repository, hash })
    return
  }
  const { error, failures, retryMs } = report
  legacy.countSync('error', seconds)
  const kind = errorKind(error)
  metrics.errors.inc({ repository, kind })
  const retry = retryMs === undefined ? 'no' : `in ${(retryMs / 1000).toFixed(1)} s`
  log.error('sync failed', { repository, kind, failures, retry, error })
}

function seeEvent(context: Own, legacy: LegacyMetrics, repository: string, event: MirrorEvent): void {
  const { metrics, log } = context
  if (event.type === 'fetched') legacy.countFetch()
  if (event.type === 'recovered') metrics.recoveries.inc({ repository })
  if (event.type === 'rebuilt') metrics.rebuilds.inc({ repository })
  const { level, msg, fields } = eventLine(event)
  const say = level === 'debug' ? detailOf(context) : log[level]
  say(msg, { repository, ...fields })
}

function seeHook({ metrics, log }: Own, legacy: LegacyMetrics, repository: string, report: HookReport): void {
  const { name: hook, hash, outcome, ms, error } = report
  metrics.hooks.inc({ repository, hook, outcome })
  legacy.countHookRun(hook, outcome)
  if (outcome === 'success') log.info('hook done', { repository, hook, hash, ms: Math.round(ms) })
  else log.error('hook failed', { repository, hook, hash, error, output: outputOf(error) })
}

/** The last of what a program wrote; undefined where there is nothing. */
function outputOf(error: Error | undefined): string | undefined {
  if (error instanceof ProgramError) return error.output || undefined
  return error?.cause instanceof Error ? outputOf(error.cause) : undefined
}

function scrape(metrics: Own['metrics'], set: RepositorySet): void {
  for (const each of [metrics.failures, metrics.success, metrics.changed, metrics.behind, metrics.info])
    each.reset()
  for (const { name: repository, failures, lastSuccess, lastChange, hash, ahead } of set.statuses()) {
    metrics.failures.set({ repository }, failures)
    metrics.success.set({ repository }, (lastSuccess ?? 0) / 1000)
    metrics.changed.set({ repository }, (lastChange ?? 0) / 1000)
    metrics.behind.set({ repository }, ahead === undefined ? 0 : (Date.now() - ahead.since) / 1000)
    if (hash !== undefined) metrics.info.set({ repository, commit: hash }, 1)
  }
}

/** Closes readiness where a repository was not synced for too long. */
class Freshness implements Disposable {
  readonly #set: RepositorySet
  readonly #mostMs: number | undefined
  readonly #gate: Gate | undefined
  readonly #timer: NodeJS.Timeout | undefined

  constructor({ params, gate }: Own, set: RepositorySet) {
    this.#set = set
    this.#mostMs = params.readyMaxAge
    if (this.#mostMs === undefined) return
    this.#gate = gate('freshness', 'nothing was synced yet')
    this.#timer = setInterval(() => this.look(), Math.min(1_000, this.#mostMs / 4))
  }

  look(): void {
    const most = this.#mostMs
    if (most === undefined) return
    const now = Date.now()
    // A ref that is a hash is never asked for again, and of what was never synced another gate tells.
    const old = this.#set
      .statuses()
      .filter(({ lastSuccess, isPinned }) => !isPinned && now - (lastSuccess ?? now) > most)
    if (old.length === 0) this.#gate?.open()
    else {
      const names = old.map(({ name }) => name).join(', ')
      this.#gate?.close(`the last successful sync of ${names} is more than ${most / 1000} s ago`)
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
