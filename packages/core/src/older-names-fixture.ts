import { type Container, defineContainer } from './container.ts'
import { duration, flag, integer, kindOf, path, secret, text } from './kinds.ts'

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
