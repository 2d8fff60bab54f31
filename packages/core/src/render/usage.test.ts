import { describe, expect, it } from 'vitest'
import { aged, sample } from '../test-support.ts'
import { commandUsage, manual, standing, usage } from './usage.ts'

const lines = usage(sample).split('\n')

it('is the text that is committed', async () => {
  await expect(usage(sample)).toMatchFileSnapshot('snapshots/usage.txt')
})

describe('--help', () => {
  it.each(sample.params.map(({ variable }) => variable))('names %s', (variable) => {
    expect(usage(sample)).toContain(variable)
  })

  it('gives no flag for a secret', () => {
    expect(usage(sample)).not.toContain('--password')
    expect(lines).toContain('  ADAPTER_SAMPLE_PASSWORD or ADAPTER_SAMPLE_PASSWORD_FILE')
  })

  it('shows that a switch takes no word after it', () => {
    expect(lines).toContain('  --[no-]tls, ADAPTER_SAMPLE_TLS')
  })

  it('gives the choices', () => {
    expect(lines).toContain('  --mode <fast|safe>, ADAPTER_SAMPLE_MODE')
  })

  it('lists common parameters before advanced ones', () => {
    const order = [
      'Parameters:',
      '  --[no-]tls, ADAPTER_SAMPLE_TLS',
      'Advanced parameters:',
      '  --limit <bytes>, ADAPTER_SAMPLE_LIMIT',
    ]
    const at = order.map((line) => lines.indexOf(line))
    expect(at).toEqual(at.toSorted((a, b) => a - b))
    expect(at).not.toContain(-1)
  })

  it('lists the commands and the pages of the admin API', () => {
    expect(lines).toContain('  match <line>...')
    expect(usage(sample)).toContain(' /params /lines, POST /drain')
    const plain = usage({ ...sample, commands: {}, pages: {} })
    expect(plain).not.toMatch(/command/i)
    expect(plain).toContain(' /params, POST /drain')
  })

  it('gives the flag of one letter, and which may be given many times', () => {
    const old = usage(aged)
    expect(old).toContain('\n  -v, --verbose <integer>, AGED_BOX_VERBOSE\n')
    expect(old).toContain('Which keys. Optional. The flag may be given many times.')
  })

  it('says what sets the ports, also that of the admin API', () => {
    expect(usage(sample)).toContain('\nPorts:\n  lines: set by ADAPTER_SAMPLE_LISTEN (--listen)\n')
    expect(lines).toContain('  admin: set by ADAPTER_SAMPLE_ADMIN (--admin)')
  })

  it('leaves older names to --man, and says so where there are some', () => {
    expect(usage(aged)).toContain('Older names are taken as well, with a warning: see --man.')
    expect(usage(aged)).not.toContain('OLD_BOX_REPO')
    expect(usage(sample)).not.toContain('Older names')
  })

  it('fits into 100 columns', () => {
    for (const line of [...lines, ...manual(aged).split('\n')]) expect(line.length).toBeLessThanOrEqual(100)
  })

  it('stays in place on a terminal, whatever the defaults hold', () => {
    for (const line of lines) expect(line).not.toMatch(/\p{Cc}/u)
  })
})

describe('--man', () => {
  /** Its words, without the lines that they are on. */
  const words = (text: string) => text.replaceAll(/\s+/g, ' ')
  const [plain, old] = [words(manual(sample)), words(manual(aged))]

  it('begins with --help', () => {
    expect(manual(sample).startsWith(usage(sample))).toBe(true)
  })

  it.each([...sample.contract, ...aged.contract])('states the promise: %s', (promise) => {
    expect(plain + old).toContain(`- ${words(promise)}`)
  })

  it('gives each metric in full, with its labels', () => {
    expect(plain).toContain('outrider_adapter_sample_lines_total{outcome} (counter) Lines sent, by outcome')
    expect(plain).toContain('outrider_adapter_sample_waiting_lines (gauge) Lines that wait.')
  })

  it('gives each route of the admin API', () => {
    for (const route of ['GET /', 'GET /readyz', 'GET /lines', 'POST /drain'])
      expect(manual(sample)).toContain(`\n  ${route}\n`)
  })

  it('gives each older name, and what it is by now', () => {
    expect(old).toContain('--branch, OLD_BOX_BRANCH AGED_BOX_REF (--ref)')
    expect(old).toContain('--password AGED_BOX_PASSWORD OLD_BOX_PASSWORD AGED_BOX_PASSWORD')
    expect(old).toContain('AGED_BOX_LEGACY nothing: nothing needs it')
    expect(old).toContain('--change-permissions, OLD_BOX_PERMISSIONS refused: set them with --once')
    expect(plain).not.toContain('Older names')
    const picky = aged.retired.map((each) => ({ ...each, refused: (text: string) => text !== '0' }))
    expect(words(manual({ ...aged, retired: picky }))).toContain(
      'AGED_BOX_LEGACY nothing, or refused: nothing needs it',
    )
  })
})

it.each([
  ['target', 'Required.'],
  ['rules', 'Optional. Watched: a change takes effect while running.'],
  ['wait', 'Default: 5s. POD_WAIT serves for all containers of a pod.'],
])('of %s it says: %s', (name, said) => {
  const param = sample.params.find((each) => each.name === name)
  expect(param && standing(param)).toBe(said)
})

it.each([
  ['match', 'adapter-sample match <line>... [--flag value ...]'],
  ['check', 'adapter-sample check [--flag value ...]'],
])('%s --help shows how it is called', (name, call) => {
  expect(commandUsage(sample, name).split('\n')).toContain(`Usage: ${call}`)
})
