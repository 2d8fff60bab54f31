import { type Container, defineContainer } from './container.ts'
import {
  address,
  bytes,
  duration,
  flag,
  integer,
  kindOf,
  listOf,
  oneOf,
  path,
  regex,
  secret,
  text,
  url,
} from './kinds.ts'
import { counter, gauge, histogram } from './metrics.ts'

/** A default with all that a shell, Docker, Kubernetes, YAML or Markdown could take for its own. */
export const awkward = `say "$HOME" 'now'\n$(DATE) $$ {x}: y #z | \\ \``

/** A made-up container with every kind of parameter, for the renderers. */
export const sample: Container = defineContainer({
  name: 'adapter-sample',
  pattern: 'adapter',
  summary: `Turns what the application says into what "others" expect; it's $5 well spent.`,
  contract: ['A line is passed on whole | or not at all.', `It doesn't expand $HOME.`],
  admin: 9199,
  params: {
    target: url('Where to send lines.', { example: 'http://127.0.0.1:8080' }),
    note: text('What to put before each line.', { example: `it's $5 & $(X): "yes" #1` }),
    password: secret('The password of the target.'),
    listen: address('Where to accept lines.', { default: '0.0.0.0:8443' }),
    control: address('Where to be told what to do.', { default: 'unix:/run/control.sock' }),
    mode: oneOf('fast', 'safe')('Whether to wait until a line has been written.', { default: 'safe' }),
    tls: flag('Whether to encrypt.'),
    greeting: text('What to say first.', { default: awkward }),
    rules: path('A YAML file of rules.', { optional: true, reloads: true }),
    parts: path('A directory of further rules.', { optional: true, advanced: true, directory: true }),
    token: secret('A token for the target.', { optional: true, advanced: true }),
    limit: bytes('How long a line may be.', { default: '64KiB', advanced: true }),
    wait: duration('How long to wait for the target.', { default: '5s', advanced: true, shared: 'POD_WAIT' }),
    others: listOf(url)('Further targets.', { optional: true, advanced: true }),
    match: regex('Which lines to send.', { default: 'a|b', advanced: true }),
  },
  ports: { lines: 'listen', control: 'control' },
  volumes: {
    '/tls': 'Holds tls.crt and tls.key.',
    '/etc/rules.d': { help: 'Holds the rules.', from: 'configMap' },
  },
  metrics: {
    lines: counter('lines_total', 'Lines sent, by outcome: sent | dropped.', ['outcome']),
    waiting: gauge('waiting_lines', 'Lines that wait.'),
    took: histogram('send_duration_seconds', 'Time to send a line.', [], [0.1, 1]),
  },
  pages: { '/lines': { title: 'Lines', help: 'Each line | what became of it.' } },
  commands: {
    match: {
      usage: '<line>...',
      summary: `Says which lines would be sent; it's all for $0.`,
      run: ({ args, params }) => ({ text: args.filter((line) => params.match.test(line)).join('\n') }),
    },
    check: { usage: '', summary: 'Reads the rules.', run: () => ({ text: '' }) },
  },
  needs: ({ mode, limit }) => ({ memory: limit / 1024, unread: mode === 'fast' ? ['/tls'] : [] }),
  start: async () => ({ async [Symbol.asyncDispose]() {} }),
})

/** A made-up container with programs that it starts, and a volume that the application reads. */
export const sharing: Container = defineContainer({
  name: 'sidecar-pages',
  pattern: 'sidecar',
  summary: 'Makes pages for the application.',
  contract: [],
  admin: 9198,
  base: 'git',
  params: {
    root: path('Where the pages are made.', { default: '/pages', directory: true, written: true }),
    report: path('What was made.', { optional: true, written: true }),
    source: path('What they are made of.', { optional: true }),
    patience: duration('How long making them may take.', { default: '90s' }),
  },
  volumes: { '/pages': { help: 'The pages.', from: 'shared' } },
  metrics: {},
  needs: ({ root, patience }) => ({
    readyWithin: patience / 1000,
    unread: root.startsWith('/pages') ? [] : ['/pages'],
  }),
  start: async () => ({ async [Symbol.asyncDispose]() {} }),
})

/** `15` to `15s`. */
const seconds = (written: string): string => {
  if (!/^\d+$/.test(written)) throw new Error(`must be a number of seconds, not ${written}`)
  return `${written}s`
}

const account = kindOf({
  name: 'account',
  parse: (value) => value,
  show: (value) => value.replace(/:.*/s, ':***'),
  secrets: (value) => value.split(';').flatMap((one) => one.split(':')[1] ?? []),
  schema: { type: 'string' },
})

/** A made-up container with a history: older names, retired ones, and all that flags may be beside their name. */
export const aged: Container = defineContainer({
  name: 'aged-box',
  pattern: 'sidecar',
  summary: 'Has been there for long.',
  contract: ['It takes what it always took.', `A long promise ${'that goes on '.repeat(12)}and ends.`],
  admin: 9198,
  params: {
    repo: text('What to mirror.', {
      example: '/here',
      formerly: [{ variable: 'OLD_BOX_REPO' }],
    }),
    ref: text('Which part of it.', {
      default: 'HEAD',
      formerly: [
        { flag: '--branch', variable: 'OLD_BOX_BRANCH' },
        {
          flag: '--rev',
          variable: 'AGED_BOX_REV',
          says: (written) => (written === 'HEAD' ? '' : written),
        },
      ],
    }),
    period: duration('How often.', {
      default: '10s',
      formerly: [{ flag: '--wait', variable: 'OLD_BOX_WAIT', says: seconds }],
    }),
    once: flag('Whether to end then.', { formerly: [{ flag: '--one-shot' }] }),
    verbose: integer('How much to say.', { default: '0', short: 'v', formerly: [{ flag: '--v' }] }),
    keys: text('Which keys.', {
      optional: true,
      repeats: (texts) => texts.join(':'),
      formerly: [{ flag: '--key' }],
    }),
    accounts: account('Who may enter.', {
      optional: true,
      repeats(texts) {
        if (texts.some((one) => !one.includes(':'))) throw new Error(`must be name:password, not ${texts}`)
        return texts.join(';')
      },
    }),
    password: secret('The password.', {
      optional: true,
      fileParam: 'passwordFile',
      formerly: [{ flag: '--password' }, { variable: 'OLD_BOX_PASSWORD' }],
    }),
    passwordFile: path('The file of the password.', { optional: true }),
    pin: secret('The number.', { optional: true }),
  },
  retired: [
    { flag: '--ssh', takesValue: false, why: 'it is found out', refused: false },
    { variable: 'AGED_BOX_LEGACY', takesValue: true, why: 'nothing needs it', refused: false },
    {
      flag: '--change-permissions',
      variable: 'OLD_BOX_PERMISSIONS',
      takesValue: true,
      why: 'set them with --once',
      refused: true,
    },
  ],
  metrics: {},
  start: async () => ({ async [Symbol.asyncDispose]() {} }),
})
