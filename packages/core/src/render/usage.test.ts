import { describe, expect, it } from 'vitest'
import { sample } from '../test-support.ts'
import { commandUsage, standing, usage } from './usage.ts'

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

  it('fits into 100 columns', () => {
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(100)
  })

  it('stays in place on a terminal, whatever the defaults hold', () => {
    for (const line of lines) expect(line).not.toMatch(/\p{Cc}/u)
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
